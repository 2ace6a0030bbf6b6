package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/kube-devops/kube-devops/agent/evaluator"
	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

// lockedBuffer is a log that can be read while it is written.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) Sync() error { return nil }

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// events are the policy events of a log, without time, level and message.
func (b *lockedBuffer) events(t *testing.T) []map[string]any {
	t.Helper()
	var events []map[string]any
	for line := range strings.Lines(b.String()) {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("a log line is not JSON: %q", line)
		}
		if entry["event"] == nil {
			continue
		}
		delete(entry, "ts")
		delete(entry, "level")
		delete(entry, "msg")
		events = append(events, entry)
	}
	return events
}

func jsonLogger(w zapcore.WriteSyncer) *zap.Logger {
	return zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), w, zapcore.DebugLevel))
}

func evaluatorOf(table *rules.Table) *evaluator.Evaluator {
	return evaluator.New(table, zap.NewNop(), prometheus.NewRegistry())
}

// apply brings in a pod of that form.
func apply(e *evaluator.Evaluator, pod state.Pod, json []byte) {
	e.Update(context.Background(), pod, func(state.Pod) (state.Pod, []byte, bool) { return pod, json, true })
}

func podJSON(container string) []byte {
	return []byte(`{"kind":"Pod","spec":{"containers":[` + container + `]}}`)
}

const (
	clean    = `{"name":"c","image":"nginx:1.25","livenessProbe":{},"readinessProbe":{}}`
	latest   = `{"name":"c","image":"nginx:latest","livenessProbe":{},"readinessProbe":{}}`
	noProbes = `{"name":"c","image":"nginx:latest"}`
)

func observations(pods ...state.Observation) func(func(state.Observation) bool) {
	return slices.Values(pods)
}
