package server

import (
	"compress/gzip"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
)

// A TextAppender is a Gatherer that can write its metrics as text by itself. To gather many series, sort them and encode
// them takes client_golang ten times as long, and it does not say that the text is wanted.
type TextAppender interface {
	prometheus.Gatherer
	// AppendText appends the metrics in the text format of Prometheus. They are those that Gather returns, and none of
	// them has a name of another gatherer's.
	AppendText(to []byte) []byte
}

// textPage answers scrapes with the text of two gatherers, of which one writes it by itself. Who asks for some
// of the metrics, or takes no text, is answered by other.
type textPage struct {
	gathered prometheus.Gatherer
	written  TextAppender
	other    http.Handler
}

func newTextPage(gathered prometheus.Gatherer, written TextAppender, other http.Handler) *textPage {
	return &textPage{gathered, written, other}
}

// texts are buffers for whole scrapes; a scrape of a large cluster is some megabytes.
var texts = sync.Pool{New: func() any { return new(text) }}

type text struct{ bytes []byte }

func (t *text) Write(p []byte) (int, error) {
	t.bytes = append(t.bytes, p...)
	return len(p), nil
}

func (p *textPage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Has("name[]") { // some metrics alone
		p.other.ServeHTTP(w, r)
		return
	}
	format := expfmt.NegotiateAccept(r.Header, expfmt.DefaultAcceptedFormats()...)
	if format.FormatType() != expfmt.TypeTextPlain {
		if !strings.Contains(r.Header.Get("Accept"), "text/plain") {
			p.other.ServeHTTP(w, r)
			return
		}
		format = expfmt.NewFormat(expfmt.TypeTextPlain)
	}
	families, err := p.gathered.Gather()
	if err != nil {
		http.Error(w, "An error has occurred while serving metrics:\n\n"+err.Error(), http.StatusInternalServerError)
		return
	}
	page := texts.Get().(*text)
	defer texts.Put(page)
	page.bytes = page.bytes[:0]
	for _, family := range families {
		if _, err := expfmt.MetricFamilyToText(page, family); err != nil {
			http.Error(w, "An error has occurred while serving metrics:\n\n"+err.Error(), http.StatusInternalServerError)
			return
		}
	}
	page.bytes = p.written.AppendText(page.bytes)
	w.Header().Set("Content-Type", string(format))
	if !takesGzip(r) {
		_, _ = w.Write(page.bytes) // who asked may be gone
		return
	}
	w.Header().Set("Content-Encoding", "gzip")
	_ = writeGzip(w, func(w io.Writer) error {
		_, err := w.Write(page.bytes)
		return err
	})
}

// writeGzip compresses what write writes. Where write fails, no end is written: the text is not whole.
func writeGzip(w io.Writer, write func(io.Writer) error) error {
	compressed := gzips.Get().(*gzip.Writer)
	defer gzips.Put(compressed)
	compressed.Reset(w)
	if err := write(compressed); err != nil {
		return err
	}
	return compressed.Close()
}

// gzips are made for speed: even so the text shrinks to a twentieth.
var gzips = sync.Pool{New: func() any {
	w, err := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed)
	if err != nil {
		panic(err) // for a level that there is not
	}
	return w
}}

func takesGzip(r *http.Request) bool {
	for coding := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		name, parameters, _ := strings.Cut(coding, ";")
		if !strings.EqualFold(strings.TrimSpace(name), "gzip") {
			continue
		}
		quality, given := strings.CutPrefix(strings.ReplaceAll(parameters, " ", ""), "q=")
		weight, err := strconv.ParseFloat(quality, 64)
		return !given || err == nil && weight > 0
	}
	return false
}
