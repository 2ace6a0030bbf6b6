package server

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
)

// A TextAppender is a Gatherer that can also write its metrics as text, ten times as fast as client_golang gathers, sorts and
// encodes them.
type TextAppender interface {
	prometheus.Gatherer
	// AppendText appends the metrics that Gather returns in the Prometheus text format. No other gatherer may have a metric of
	// the same name.
	AppendText(to []byte) []byte
}

// textPage answers scrapes with the text of two gatherers; the second one appends its text itself. Requests for selected
// metrics or another format go to other.
type textPage struct {
	gathered prometheus.Gatherer
	written  TextAppender
	other    http.Handler
}

// texts are buffers for whole scrapes, which are megabytes for a large cluster.
var texts = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func (p *textPage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Has("name[]") { // selected metrics
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
		metricsError(w, err)
		return
	}
	page := texts.Get().(*bytes.Buffer)
	defer func() { texts.Put(page) }()
	page.Reset()
	for _, family := range families {
		if _, err := expfmt.MetricFamilyToText(page, family); err != nil {
			metricsError(w, err)
			return
		}
	}
	text := p.written.AppendText(page.Bytes())
	page = bytes.NewBuffer(text)                                        // it may have grown
	_ = writeCompressed(w, r, string(format), func(w io.Writer) error { // fails only if the client is gone
		_, err := w.Write(text)
		return err
	})
}

// metricsError answers as promhttp does.
func metricsError(w http.ResponseWriter, err error) {
	http.Error(w, "An error has occurred while serving metrics:\n\n"+err.Error(), http.StatusInternalServerError)
}

// writeCompressed writes a page, compressed if the client accepts gzip. If write fails, the end mark of gzip is missing, so that
// the client sees an error.
func writeCompressed(w http.ResponseWriter, r *http.Request, contentType string, write func(io.Writer) error) error {
	w.Header().Set("Content-Type", contentType)
	return compress(w.Header(), w, r, write)
}

func compress(h http.Header, to io.Writer, r *http.Request, write func(io.Writer) error) error {
	h.Add("Vary", "Accept-Encoding")
	if !acceptsGzip(r) {
		return write(to)
	}
	h.Set("Content-Encoding", "gzip")
	compressed := gzips.Get().(*gzip.Writer)
	defer gzips.Put(compressed)
	compressed.Reset(to)
	if err := write(compressed); err != nil {
		return err
	}
	return compressed.Close()
}

// gzips compress fast rather than well: even so the text shrinks to a twentieth.
var gzips = sync.Pool{New: func() any {
	w, err := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed)
	if err != nil {
		panic(err) // only for an invalid level
	}
	return w
}}

func acceptsGzip(r *http.Request) bool {
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
