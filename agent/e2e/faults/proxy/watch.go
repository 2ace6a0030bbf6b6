package proxy

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// editWatch applies a rule to the body of a watch, line by line.
func editWatch(body io.ReadCloser, rule *Rule) io.ReadCloser {
	in, out := io.Pipe()
	go func() {
		defer func() { _ = body.Close() }()
		out.CloseWithError(copyEvents(out, bufio.NewReader(body), rule))
	}()
	return &edited{in, body}
}

// edited closes the body of the server together with the pipe, which unblocks a pending read.
type edited struct {
	*io.PipeReader
	body io.Closer
}

func (e *edited) Close() error {
	_ = e.PipeReader.Close()
	return e.body.Close()
}

// copyEvents returns nil at the end of the watch.
func copyEvents(to io.Writer, from *bufio.Reader, rule *Rule) error {
	for n := 1; ; n++ {
		line, err := from.ReadBytes('\n')
		if len(line) > 0 {
			fate := Pass
			if rule.Watch != nil {
				event := parseEvent(n, line)
				fate = rule.Watch(event)
				line = event.Line
			}
			if rule.Answer != nil {
				line = rule.Answer(line)
			}
			switch fate {
			case BreakOff:
				return nil
			case Pass:
				if _, err := to.Write(line); err != nil {
					return err
				}
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func parseEvent(n int, line []byte) *Event {
	var decoded struct {
		Type   string
		Object struct{ Metadata metav1.ObjectMeta }
	}
	// A line that is not an event has an empty type.
	_ = json.Unmarshal(bytes.TrimSpace(line), &decoded)
	return &Event{
		N:    n,
		Type: decoded.Type,
		Name: decoded.Object.Metadata.Name,
		End:  decoded.Type == "BOOKMARK" && decoded.Object.Metadata.Annotations[metav1.InitialEventsAnnotationKey] == "true",
		Line: line,
	}
}
