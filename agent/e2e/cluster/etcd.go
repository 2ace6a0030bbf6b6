package cluster

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"syscall"
	"time"
)

// SignalEtcd sends a signal to etcd.
func (p *ControlPlane) SignalEtcd(s syscall.Signal) { p.etcd.Signal(s) }

// KillEtcd ends etcd in the middle of its work.
func (p *ControlPlane) KillEtcd() { p.etcd.Kill() }

// StartEtcd starts etcd again on the data that it left.
func (p *ControlPlane) StartEtcd(ctx context.Context) error { return p.startEtcd(ctx) }

// SaveEtcd stops etcd, copies its data to a folder of that name, and starts it again.
func (p *ControlPlane) SaveEtcd(ctx context.Context, name string) error {
	p.etcd.Stop(5 * time.Second)
	if err := os.CopyFS(p.file(name), os.DirFS(p.file("etcd"))); err != nil {
		return fmt.Errorf("copy the data of etcd: %w", err)
	}
	return p.startEtcd(ctx)
}

// RestoreEtcd puts the data back that SaveEtcd has copied: what was written since has never been, and its revisions are
// given out again. The API server must be stopped.
func (p *ControlPlane) RestoreEtcd(ctx context.Context, name string) error {
	if p.Running() {
		return errors.New("restore etcd: the API server still runs")
	}
	p.etcd.Kill()
	if err := os.RemoveAll(p.file("etcd")); err != nil {
		return fmt.Errorf("remove the data of etcd: %w", err)
	}
	if err := os.CopyFS(p.file("etcd"), os.DirFS(p.file(name))); err != nil {
		return fmt.Errorf("put back the data of etcd: %w", err)
	}
	return p.startEtcd(ctx)
}

// CompactEtcd compacts the history of etcd: a watch from an older resource version fails with 410 Gone.
func (p *ControlPlane) CompactEtcd(ctx context.Context) error {
	var answer struct{ Header struct{ Revision string } }
	if err := p.askEtcd(ctx, "/v3/kv/range", map[string]any{"key": base64.StdEncoding.EncodeToString([]byte("x"))}, &answer); err != nil {
		return err
	}
	return p.askEtcd(ctx, "/v3/kv/compaction", map[string]any{"revision": answer.Header.Revision, "physical": true}, &struct{}{})
}

// askEtcd speaks the JSON form of etcd's API.
func (p *ControlPlane) askEtcd(ctx context.Context, path string, question, answer any) error {
	body, err := json.Marshal(question)
	if err != nil {
		return fmt.Errorf("ask etcd: %w", err)
	}
	url := "http://127.0.0.1:" + strconv.Itoa(p.etcdPort) + path
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("ask etcd: %w", err)
	}
	res, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("ask etcd: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return fmt.Errorf("ask etcd: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("ask etcd: %s: %s: %s", path, res.Status, text)
	}
	return json.Unmarshal(text, answer)
}
