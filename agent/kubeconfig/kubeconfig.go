// Package kubeconfig finds the API server to talk to, as kubectl does: by a kubeconfig, or by the configuration that every
// pod has. Its clients refuse redirects. It makes no requests, and does not know what its clients are used for.
package kubeconfig

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	_ "k8s.io/client-go/plugin/pkg/client/auth/oidc" // kubeconfigs with the auth provider oidc
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/client-go/util/homedir"

	"github.com/kube-devops/kube-devops/rules/suggest"
)

// ErrNoCluster means that there is no kubeconfig, and that the process does not run in a pod.
var ErrNoCluster = errors.New("no cluster: not in a pod, and no kubeconfig")

// inCluster is the name of the configuration that every pod has.
const inCluster = "in-cluster"

// A Cluster is an API server and the configuration of its clients.
type Cluster struct {
	Config *rest.Config
	// Context is the name of the context in the kubeconfig, or "in-cluster".
	Context string
}

// FindCluster finds the cluster by the named kubeconfig file, else by the files of KUBECONFIG, else as the pod that this
// process runs in, else by ~/.kube/config. An empty context means the current one. If a context is named, the pod is not
// considered. The error wraps ErrNoCluster if there is none of these. Clients of the cluster refuse redirects.
func FindCluster(file, context string) (*Cluster, error) {
	cluster, err := findCluster(file, context)
	if err != nil {
		return nil, err
	}
	refuseRedirects(cluster.Config)
	return cluster, nil
}

func findCluster(file, context string) (*Cluster, error) {
	named := file != "" || os.Getenv(clientcmd.RecommendedConfigPathEnvVar) != ""
	if !named && context == "" {
		config, err := rest.InClusterConfig()
		if err == nil {
			return &Cluster{config, inCluster}, nil
		}
		if !errors.Is(err, rest.ErrNotInCluster) {
			return nil, fmt.Errorf("read the in-cluster configuration: %w", err)
		}
	}
	config, from, err := load(file, named)
	if err != nil {
		return nil, err
	}
	if context == "" {
		context = config.CurrentContext
	}
	if err := checkContext(config, context, from); err != nil {
		return nil, err
	}
	client, err := clientcmd.NewNonInteractiveClientConfig(*config, context, nil, nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig: %s, context %s: %w", from, context, oneLine(err))
	}
	return &Cluster{client, context}, nil
}

// load reads the named file, else those of KUBECONFIG, else the one in the home directory. from describes the source in
// messages.
func load(file string, named bool) (config *api.Config, from string, err error) {
	loading := &clientcmd.ClientConfigLoadingRules{ExplicitPath: file}
	switch {
	case file != "":
		loading.Precedence, from = []string{file}, "--kubeconfig "+file
	case named:
		from = os.Getenv(clientcmd.RecommendedConfigPathEnvVar)
		loading.Precedence, from = filepath.SplitList(from), clientcmd.RecommendedConfigPathEnvVar+"="+from
	default:
		from = filepath.Join(homedir.HomeDir(), clientcmd.RecommendedHomeDir, clientcmd.RecommendedFileName)
		loading.Precedence = []string{from}
	}
	missing := func(file string) bool {
		_, err := os.Stat(file)
		return errors.Is(err, fs.ErrNotExist)
	}
	if !slices.ContainsFunc(loading.Precedence, func(file string) bool { return !missing(file) }) {
		if !named {
			return nil, from, ErrNoCluster
		}
		return nil, from, fmt.Errorf("read the kubeconfig: %s: no such file or directory: name another with --kubeconfig", from)
	}
	config, err = loading.Load()
	if err != nil {
		return nil, from, fmt.Errorf("read the kubeconfig: %s: %w", from, oneLine(err))
	}
	return config, from, nil
}

// checkContext returns an error if a context does not exist, and what to do.
func checkContext(config *api.Config, context, from string) error {
	if len(config.Contexts) == 0 {
		what := "has no context"
		if len(config.Clusters)+len(config.AuthInfos) == 0 {
			what = "is empty"
		}
		return fmt.Errorf("read the kubeconfig: %s %s: name another with --kubeconfig", from, what)
	}
	contexts := slices.Sorted(maps.Keys(config.Contexts))
	there := "it has " + strings.Join(contexts[:min(len(contexts), maxContexts)], ", ")
	if more := len(contexts) - maxContexts; more > 0 {
		there += fmt.Sprintf(" and %d more", more)
	}
	if context == "" {
		return fmt.Errorf("read the kubeconfig: %s has no current context: name one with --context (%s)", from, there)
	}
	if config.Contexts[context] != nil {
		return nil
	}
	for _, name := range contexts {
		if suggest.Distance(name, context) <= 2 {
			return fmt.Errorf("read the kubeconfig: %s has no context %q; did you mean %q?", from, context, name)
		}
	}
	return fmt.Errorf("read the kubeconfig: %s has no context %q (%s)", from, context, there)
}

// maxContexts is how many contexts a message lists.
const maxContexts = 10

// Contexts returns the sorted names of the contexts of the kubeconfig that FindCluster would read; none if it cannot be read.
func Contexts(file string) []string {
	named := file != "" || os.Getenv(clientcmd.RecommendedConfigPathEnvVar) != ""
	config, _, err := load(file, named)
	if err != nil {
		return nil
	}
	return slices.Sorted(maps.Keys(config.Contexts))
}

// Server returns the address of the API server, without credentials.
func (c *Cluster) Server() string {
	server, _, err := rest.DefaultServerUrlFor(c.Config)
	if err != nil {
		return "invalid address"
	}
	return (&url.URL{Scheme: server.Scheme, Host: server.Host, Path: strings.TrimSuffix(server.Path, "/")}).String()
}

// String describes the cluster for messages.
func (c *Cluster) String() string { return c.Name() + " (" + c.Server() + ")" }

// Name describes the cluster in reports, which do not have the address of its API server.
func (c *Cluster) Name() string {
	if c.Context == inCluster {
		return "the cluster of this pod"
	}
	return "context " + c.Context
}

// oneLine removes line breaks from the text of an error.
func oneLine(err error) error {
	if text := strings.Join(strings.Fields(err.Error()), " "); text != err.Error() {
		return errors.New(text)
	}
	return err
}
