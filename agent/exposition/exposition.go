package exposition

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

const (
	// MaxNamespaces is how many namespaces have series of their own on an agent: whoever may create namespaces must not be
	// able to fill the memory of a Prometheus.
	MaxNamespaces = 5000
	// otherNamespaces is the label value of all others together. The name of a namespace has no underscore.
	otherNamespaces = "_other"
)

// A View is what the metrics show at one moment.
type View struct {
	Table    *rules.Table    // the policy in force
	Snapshot *state.Snapshot // under that policy; nil where there are no scores: then only the policy is exported
	// MaxNamespaces is how many namespaces have series of their own; 0 for no limit.
	MaxNamespaces int
	// UnreadableInputs is how many inputs a scan could not read; nil for an agent.
	UnreadableInputs *int
}

// Scores exports the view that a function returns, as a Collector and as text. Each scrape is of one view: a series never
// outlives what it is about.
type Scores struct {
	view     func() View
	families []family
}

// New is for an agent that watches only these namespaces, or for all of a cluster where there are none. The namespaces are
// a label of the policy's series, because they are what the scores call the cluster; elsewhere there is no such label.
func New(view func() View, namespaces ...string) *Scores {
	s := &Scores{view, slices.Clone(families)}
	for i := range s.families {
		f := &s.families[i]
		constant := prometheus.Labels{}
		if i == 0 && len(namespaces) > 0 {
			f.constant = [2]string{"namespaces", strings.Join(slices.Sorted(slices.Values(namespaces)), ",")}
			constant[f.constant[0]] = f.constant[1]
		}
		f.desc = prometheus.NewDesc(f.name, f.help, f.labels, constant)
	}
	return s
}

// Describe sends the description of every family.
func (s *Scores) Describe(descs chan<- *prometheus.Desc) {
	for i := range s.families {
		descs <- s.families[i].desc
	}
}

// Collect sends the metrics of one view.
func (s *Scores) Collect(metrics chan<- prometheus.Metric) {
	s.samples(func(f *family, value float64, labels [2]string) {
		labels[0], labels[1] = labelValue(labels[0]), labelValue(labels[1])
		metrics <- prometheus.MustNewConstMetric(f.desc, prometheus.GaugeValue, value, labels[:len(f.labels)]...)
	})
}

// samples yields the series of one view, one family after another.
func (s *Scores) samples(yield func(f *family, value float64, labels [2]string)) {
	m := moment{View: s.view()}
	each := s.families
	if m.Snapshot == nil {
		each = each[:1]
	} else {
		m.checks = m.Table.Checks()
		m.namespaces, m.overflowed = limited(m.Snapshot, m.MaxNamespaces)
		for i := range m.namespaces {
			if scores, ok := m.namespaces[i].Scores(m.Table); ok {
				m.scored = append(m.scored, scoredNamespace{&m.namespaces[i], scores})
			}
		}
	}
	for i := range each {
		f := &each[i]
		f.samples(&m, func(value float64, labels [2]string) { yield(f, value, labels) })
	}
}

// limited returns the namespaces that have series: the first by name and, if there are too many, one more with the sums of the
// others. It also returns the number of the others.
func limited(snap *state.Snapshot, most int) (namespaces []state.NamespaceSnapshot, overflowed int) {
	overflowed = len(snap.Namespaces) - most
	if most == 0 || overflowed <= 0 {
		return snap.Namespaces, 0
	}
	rest := state.Snapshot{Table: snap.Table, Namespaces: snap.Namespaces[most:]}
	other := state.NamespaceSnapshot{Name: otherNamespaces, LiveMetrics: rest.Totals()}
	return append(snap.Namespaces[:most:most], other), overflowed
}

// AppendText appends the metrics in Prometheus' text format. It takes a tenth of the time that client_golang takes to
// gather and encode them, which shows where there are many namespaces.
func (s *Scores) AppendText(to []byte) []byte {
	return s.appendText(to, func(text []byte) []byte { return text })
}

// WriteText writes the metrics in Prometheus' text format.
func (s *Scores) WriteText(to io.Writer) error {
	var err error
	rest := s.appendText(nil, func(text []byte) []byte {
		if len(text) < 1<<16 || err != nil {
			return text
		}
		_, err = to.Write(text)
		return text[:0]
	})
	if err == nil {
		_, err = to.Write(rest)
	}
	return err
}

// appendText appends the series, each behind the head of its family where it is the first. After each series, written may
// take the text away.
func (s *Scores) appendText(to []byte, written func([]byte) []byte) []byte {
	var last *family
	s.samples(func(f *family, value float64, labels [2]string) {
		if f != last {
			to = append(append(append(append(to, "# HELP "...), f.name...), ' '), f.help...)
			to = append(append(append(to, "\n# TYPE "...), f.name...), " gauge\n"...)
			last = f
		}
		to = written(f.appendSample(to, value, labels))
	})
	return to
}

func (f *family) appendSample(to []byte, value float64, labels [2]string) []byte {
	to = append(to, f.name...)
	for i, label := range f.labels {
		to = append(append(append(to, "{,"[min(i, 1)]), label...), `="`...)
		to = append(appendLabel(to, labels[i]), '"')
	}
	if name := f.constant[0]; name != "" {
		to = append(append(append(to, ','), name...), `="`...)
		to = append(appendLabel(to, f.constant[1]), '"')
	}
	if len(f.labels) > 0 {
		to = append(to, '}')
	}
	to = append(to, ' ')
	if whole := int64(value); float64(whole) == value && whole > -1e6 && whole < 1e6 {
		to = strconv.AppendInt(to, whole, 10) // the same text, sooner
	} else {
		to = strconv.AppendFloat(to, value, 'g', -1, 64)
	}
	return append(to, '\n')
}

// appendLabel appends a label's value with its quotes, backslashes and line breaks escaped.
func appendLabel(to []byte, value string) []byte {
	value = labelValue(value)
	for i := range len(value) {
		switch b := value[i]; b {
		case '"', '\\':
			to = append(to, '\\', b)
		case '\n':
			to = append(to, `\n`...)
		default:
			to = append(to, b)
		}
	}
	return to
}

// labelValue is a text as a label's value. Bytes that are not UTF-8, which Prometheus refuses, control characters and
// invisible marks become their hexadecimal digits, so that two names stay two series. A line break stays: the format
// escapes it.
func labelValue(text string) string {
	if isPrintableASCII(text) {
		return text
	}
	unprintable := func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }
	if utf8.ValidString(text) && strings.IndexFunc(text, unprintable) < 0 {
		return text
	}
	var b strings.Builder
	for i, r := range text {
		_, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && size == 1 || unprintable(r) && r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case unprintable(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func isPrintableASCII(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}
