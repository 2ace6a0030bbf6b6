// Package policysource loads the policy table and the waivers, which are files or a table that ships, and notices when
// they change. It does not know what a policy is put in force on.
package policysource

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/kube-devops/kube-devops/agent/reload"
	"github.com/kube-devops/kube-devops/policies"
	"github.com/kube-devops/kube-devops/rules"
)

// Options are where a policy comes from.
type Options struct {
	// Policies are files of tables, or names of tables that ship. Several are one table that extends them all.
	Policies []string
	// Waivers is a file of waivers; empty for none.
	Waivers string
	// Reload asks, by each signal, to read the files at once; nil for none.
	Reload <-chan os.Signal

	Log        *zap.Logger
	Registerer prometheus.Registerer
}

// A Source is where the policy table and its waivers come from.
type Source struct {
	log      *zap.Logger
	reload   <-chan os.Signal
	policies []string
	waivers  string
	loaded   reload.Contents // the files in New
	files    []string        // all files of the policy when it was last read
	hash     string          // of the policy in force

	successful, time prometheus.Gauge

	mu     sync.Mutex
	status Status
}

// A Status says how the last attempt to read the policy went.
type Status struct {
	// Loaded is when it last succeeded.
	Loaded time.Time
	// Problem is why it failed since then; empty if it did not.
	Problem string
}

// Status returns how the last attempt to read the policy went.
func (s *Source) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// String names where the policy comes from.
func (s *Source) String() string {
	text := strings.Join(s.policies, ", ")
	if s.waivers != "" {
		text += ", with waivers of " + s.waivers
	}
	return text
}

// New loads the policy for the first time.
func New(ctx context.Context, o Options) (*Source, *rules.Table, error) {
	s := &Source{
		log: o.Log, reload: o.Reload, policies: o.Policies, waivers: o.Waivers,
		successful: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "kube_devops_policy_last_reload_successful",
			Help: "Whether the last attempt to load the policy table succeeded (1) or not (0).",
		}),
		time: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "kube_devops_policy_last_reload_success_timestamp_seconds",
			Help: "When the policy table was last loaded successfully, in seconds since 1970.",
		}),
	}
	var err error
	if s.loaded, err = s.read(ctx); err != nil {
		var path *fs.PathError
		if errors.Is(err, fs.ErrNotExist) && errors.As(err, &path) && slices.Contains(s.policies, path.Path) {
			err = policies.NotFound(path.Path, err)
		}
		return nil, nil, fmt.Errorf("load policy: %w", err)
	}
	table, err := s.compile(s.loaded)
	if err != nil {
		return nil, nil, fmt.Errorf("load policy: %w", err)
	}
	o.Registerer.MustRegister(s.successful, s.time)
	s.hash = table.Hash()
	s.succeeded()
	s.warn(table)
	return s, table, nil
}

// warn logs what has no effect in a table.
func (s *Source) warn(table *rules.Table) {
	if warnings := table.Warnings(); len(warnings) > 0 {
		s.log.Warn("the policy has warnings", lines("warnings", warnings))
	}
}

func (s *Source) succeeded() {
	now := time.Now()
	s.successful.Set(1)
	s.time.Set(float64(now.UnixMilli()) / 1e3)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = Status{Loaded: now}
}

func (s *Source) failed(err error) {
	s.successful.Set(0)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.Problem = err.Error()
}

// compile makes a table of the contents of all files.
func (s *Source) compile(contents reload.Contents) (*rules.Table, error) {
	texts := textsOf(contents)
	sources, err := policies.Resolve(texts.read, s.policies...)
	if err != nil {
		return nil, err
	}
	table, err := rules.LoadAll(sources...)
	if err != nil || s.waivers == "" {
		return table, err
	}
	return table.WithWaivers(s.waivers, texts[s.waivers])
}

// reloadPeriod is the time after which the files are read though nothing hints at a change.
const reloadPeriod = 2 * time.Second

// Follow passes each new policy that loads without errors to set, until ctx is done. If set returns an error, the policy
// before stays in force.
func (s *Source) Follow(ctx context.Context, set func(context.Context, *rules.Table) error) error {
	if len(s.loaded.Files) == 0 {
		<-ctx.Done()
		return nil
	}
	watcher := reload.Watcher{
		Read: s.read, Every: reloadPeriod, Now: s.reload,
		Changed: func(contents reload.Contents, err error) { s.changed(ctx, set, contents, err) },
	}
	return watcher.Run(ctx, s.loaded)
}

// changed puts a policy in force, or keeps the last good one.
func (s *Source) changed(ctx context.Context, set func(context.Context, *rules.Table) error, contents reload.Contents, err error) {
	var table *rules.Table
	if err == nil {
		table, err = s.compile(contents)
	}
	if err != nil {
		s.failed(err)
		s.log.Error("the policy cannot be loaded; the last good one stays in force", mistakes(err))
		return
	}
	identity := []zap.Field{zap.String("policy", table.Name()), zap.String("hash", table.Hash())}
	if table.Hash() == s.hash {
		s.succeeded()
		s.log.Info("the policy is as it was", identity...)
		return
	}
	s.log.Info("the policy has changed", append(identity, zap.Int("checks", len(table.Checks())), zap.Int("waivers", len(table.Waivers())))...)
	s.warn(table)
	switch err := set(ctx, table); {
	case ctx.Err() != nil: // the agent is stopping
	case err != nil:
		s.failed(err)
		s.log.Error("the recording cannot be evaluated again; the scores stay those of the policy before", zap.Error(err))
	default:
		s.hash = table.Hash()
		s.succeeded()
	}
}

// mistakes returns an error as a field of one log line.
func mistakes(err error) zap.Field {
	var list rules.LoadErrors
	if !errors.As(err, &list) {
		return zap.Error(err)
	}
	return lines("mistakes", list)
}

// lines returns a field with the first errors of a list.
func lines(key string, list rules.LoadErrors) zap.Field {
	const most = 20
	lines := make([]string, 0, most)
	for _, m := range list[:min(most, len(list))] {
		lines = append(lines, m.Error())
	}
	return zap.Strings(key, lines)
}
