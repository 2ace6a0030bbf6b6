package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/pflag"

	"github.com/kube-devops/kube-devops/agent/kubeconfig"
	"github.com/kube-devops/kube-devops/agent/podlist"
	"github.com/kube-devops/kube-devops/agent/report"
	"github.com/kube-devops/kube-devops/agent/scan"
)

// clusterFlags say which cluster a scan reads.
type clusterFlags struct {
	cluster             bool
	kubeconfig, context string
	name                string // of the cluster that was opened
}

func (f *clusterFlags) addTo(flags *pflag.FlagSet) {
	flags.BoolVar(&f.cluster, "cluster", false, "scan the pods of the cluster in place of files; needs the verb list on pods, with --namespace in these namespaces alone")
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig file of --cluster (default: the files of KUBECONFIG, else the in-cluster configuration, else ~/.kube/config)")
	flags.StringVar(&f.context, "context", "", "context of the kubeconfig, for --cluster (default: the current one)")
}

// validate checks the flags and the arguments that go with them.
func (f *clusterFlags) validate(args []string) error {
	switch {
	case f.cluster && len(args) > 0:
		return fmt.Errorf("--cluster and %q exclude each other: scan the cluster or files", args[0])
	case !f.cluster && f.kubeconfig != "":
		return errors.New("--kubeconfig needs --cluster")
	case !f.cluster && f.context != "":
		return errors.New("--context needs --cluster")
	}
	return nil
}

// A podReader is the pods of a cluster as an input of a scan.
type podReader struct {
	*podlist.Reader
	name string // of the cluster, for messages
	stop context.CancelFunc
}

// open finds the cluster. It asks nothing of the API server.
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
		options.Namespaces = distinct(namespaces)
	}
	ctx, stop := context.WithCancel(ctx)
	reader, err := podlist.New(ctx, cluster.Config, options)
	if err != nil {
		stop()
		return nil, fmt.Errorf("read %s: %w", cluster, err)
	}
	return &podReader{reader, f.name, stop}, nil
}

// scan is scan.Run with the pods of the cluster in place of standard input. The error of the API server says more than that
// of the recording that it cuts off.
func (r *podReader) scan(ctx context.Context, o scan.Options) (*report.Scan, error) {
	defer r.stop() // a request that is still on its way
	o.Stdin, o.StdinName = r, r.name
	found, err := scan.Run(ctx, o)
	if own := r.Err(); own != nil && (err != nil || r.Pages() == 0) {
		return nil, fmt.Errorf("read %s: %w", r.name, own)
	}
	return found, err
}

func distinct(names []string) []string {
	sorted := slices.Clone(names)
	slices.Sort(sorted)
	return slices.Compact(sorted)
}
