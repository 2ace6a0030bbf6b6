package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/kube-devops/kube-devops/agent/reload"
	"github.com/kube-devops/kube-devops/policies"
	"github.com/kube-devops/kube-devops/rules"
)

// A policySource is where the policy table, and the waivers beside it, come from.
type policySource struct {
	// shipped is the table that ships under the name that was asked for; nil where the table is a file.
	shipped []byte
	// name is the file of the table, for messages too.
	name string
	// files are those that may change: of the table, where it is a file, and of the waivers, where there are any.
	files []string
}

func newPolicySource(policy, waivers string) policySource {
	p := policySource{name: policy}
	if text, ok := policies.Shipped(policy); ok {
		p.name, p.shipped = policy+".yaml", text
	} else {
		p.files = append(p.files, policy)
	}
	if waivers != "" {
		p.files = append(p.files, waivers)
	}
	return p
}

// read returns the content of the files.
func (p policySource) read(ctx context.Context) ([][]byte, error) {
	texts, err := reload.Read(ctx, p.files...)
	var path *fs.PathError
	if errors.Is(err, fs.ErrNotExist) && errors.As(err, &path) && path.Path == p.name {
		return nil, fmt.Errorf("%w (a policy is a file, or one of the tables that ship: %s)", err, strings.Join(policies.Names(), ", "))
	}
	return texts, err
}

// compile makes a table of the content of the files.
func (p policySource) compile(texts [][]byte) (*rules.Table, error) {
	files, text := p.files, p.shipped
	if text == nil {
		text, files, texts = texts[0], files[1:], texts[1:]
	}
	table, err := rules.Load(p.name, text)
	if err != nil || len(files) == 0 {
		return table, err
	}
	return table.WithWaivers(files[0], texts[0])
}

// reloadPeriod is the time after which the policy's files are read though nothing hints at a change.
const reloadPeriod = 2 * time.Second

// followPolicy takes over each new policy that is whole, until ctx is done.
func (a *Agent) followPolicy(ctx context.Context) error {
	if len(a.policy.files) == 0 {
		<-ctx.Done()
		return nil
	}
	watcher := reload.Watcher{
		Files: a.policy.files, Every: reloadPeriod, Now: a.options.Reload,
		Changed: func(texts [][]byte, err error) { a.reload(ctx, texts, err) },
	}
	return watcher.Run(ctx, a.policyTexts)
}

// reload takes over a policy, or keeps the last good one.
func (a *Agent) reload(ctx context.Context, texts [][]byte, err error) {
	var table *rules.Table
	if err == nil {
		table, err = a.policy.compile(texts)
	}
	if err != nil {
		a.policyMetrics.failed()
		a.log.Error("the policy cannot be loaded; the last good one stays in force", mistakes(err))
		return
	}
	if before := a.evaluator.table(); table.Hash() == before.Hash() {
		a.policyMetrics.loaded(time.Now())
		a.log.Info("the policy is as it was", zap.String("policy", table.Name()), zap.String("hash", table.Hash()))
		return
	}
	a.log.Info("the policy has changed", zap.String("policy", table.Name()), zap.String("hash", table.Hash()),
		zap.Int("checks", len(table.Checks())), zap.Int("waivers", len(table.Waivers())))
	switch err := a.retable(ctx, table); {
	case ctx.Err() != nil: // the agent is stopping
	case err != nil:
		a.policyMetrics.failed()
		a.log.Error("the recording cannot be evaluated again; the scores stay those of the policy before", zap.Error(err))
	default:
		a.policyMetrics.loaded(time.Now())
	}
}

// mistakes is an error as a field of one log line.
func mistakes(err error) zap.Field {
	var list rules.Mistakes
	if !errors.As(err, &list) {
		return zap.Error(err)
	}
	const most = 20
	lines := make([]string, 0, most)
	for _, m := range list[:min(most, len(list))] {
		lines = append(lines, m.Error())
	}
	return zap.Strings("mistakes", lines)
}
