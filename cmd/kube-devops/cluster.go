package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize/english"
	"github.com/spf13/pflag"

	"github.com/kube-devops/kube-devops/agent/dump"
	"github.com/kube-devops/kube-devops/agent/kubeconfig"
	"github.com/kube-devops/kube-devops/agent/podlist"
	"github.com/kube-devops/kube-devops/agent/report"
	"github.com/kube-devops/kube-devops/agent/scan"
)

// clusterFlags select the cluster that a scan reads.
type clusterFlags struct {
	enabled             bool
	kubeconfig, context string
	name                string // of the cluster, once it is opened
}

func (f *clusterFlags) addTo(flags *pflag.FlagSet) {
	flags.BoolVar(&f.enabled, "cluster", false, "scan the pods of a cluster instead of files; needs the verb list on pods, with --namespace only in these namespaces")
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig `file` for --cluster (default: the files in KUBECONFIG, otherwise the in-cluster configuration, otherwise ~/.kube/config)")
	flags.StringVar(&f.context, "context", "", "kubeconfig `context` for --cluster (default: the current one)")
}

func (f *clusterFlags) validate(args []string) error {
	switch {
	case f.enabled && len(args) > 0:
		return fmt.Errorf("--cluster and %q are mutually exclusive: scan either the cluster or files", args[0])
	case !f.enabled && f.kubeconfig != "":
		return errors.New("--kubeconfig needs --cluster")
	case !f.enabled && f.context != "":
		return errors.New("--context needs --cluster")
	}
	return nil
}

// A podReader reads the pods of a cluster as the input of a scan.
type podReader struct {
	*podlist.Reader
	name  string // of the cluster, for messages
	title string // the same for reports
	in    string // the namespaces that are read, for messages
	stop  context.CancelFunc
}

// open finds the cluster. It sends no request to the API server.
func (f *clusterFlags) open(ctx context.Context, namespaces []string, warn func(string)) (*podReader, error) {
	cluster, err := kubeconfig.FindCluster(f.kubeconfig, f.context)
	if errors.Is(err, kubeconfig.ErrNoCluster) {
		return nil, fmt.Errorf("%w; name one with --kubeconfig, or scan a recording", err)
	}
	if err != nil {
		return nil, err
	}
	f.name = cluster.String()
	cluster.Config.UserAgent = "kube-devops/" + version
	options := podlist.Options{Warn: warn}
	if !slices.ContainsFunc(namespaces, func(name string) bool { return !podlist.IsNamespace(name) }) {
		options.Namespaces = slices.Compact(slices.Sorted(slices.Values(namespaces)))
	}
	ctx, stop := context.WithCancel(ctx)
	reader, err := podlist.New(ctx, cluster.Config, options)
	if err != nil {
		stop()
		return nil, fmt.Errorf("read %s: %w", cluster, err)
	}
	return &podReader{reader, f.name, cluster.Name(), namespacesText(options.Namespaces), stop}, nil
}

// scan is scan.Run with the pods of the cluster as standard input. It prefers the error of the API server to the error about
// the truncated input that follows from it.
func (r *podReader) scan(ctx context.Context, o scan.Options) (*report.Scan, error) {
	defer r.stop() // ends a pending request
	o.Stdin, o.StdinName = r, r.name
	found, err := scan.Run(ctx, o)
	if own := r.Err(); own != nil && (err != nil || r.Pages() == 0) {
		return nil, fmt.Errorf("read %s: %w", r.name, own)
	}
	if errors.Is(err, dump.ErrNoPods) {
		return nil, fmt.Errorf("read %s: %w in %s; --allow-empty accepts that", r.name, dump.ErrNoPods, r.in)
	}
	if found != nil {
		found.Inputs.Cluster = r.title
	}
	return found, err
}

// namespacesText names namespaces in a message; none stand for all.
func namespacesText(namespaces []string) string {
	if len(namespaces) == 0 {
		return "the cluster"
	}
	quoted := make([]string, len(namespaces))
	for i, name := range namespaces {
		quoted[i] = strconv.Quote(name)
	}
	return english.PluralWord(len(namespaces), "namespace", "") + " " + strings.Join(quoted, ", ")
}
