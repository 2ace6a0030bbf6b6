package agent

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"go.uber.org/zap"

	"github.com/kube-devops/kube-devops/agent/election"
	"github.com/kube-devops/kube-devops/agent/server"
	"github.com/kube-devops/kube-devops/policies"
)

// Options are all that an agent needs to be told.
type Options struct {
	// Policy is the file of the policy table, or the name of one that ships.
	Policy string
	// Waivers is a file of waivers beside the table; empty for none.
	Waivers string
	// Reload asks, by each signal, for a look at the files of policy and waivers at once; nil for none.
	Reload <-chan os.Signal
	// Listen is the address of the HTTP endpoints.
	Listen string
	// HealthListen is an address that serves health checks alone, without TLS; empty for none.
	HealthListen string
	// ProfileListen is the loopback address of the profiles; empty for none.
	ProfileListen string
	// Certificate is for TLS at Listen; empty for plain HTTP.
	Certificate server.Certificate
	// MetricsAuth is whether the API server is asked who may read metrics and the report.
	MetricsAuth bool
	// MetricsAuthAudiences are those of which a token must have one; none for the API server's own.
	MetricsAuthAudiences []string
	// Kubeconfig is a file; empty for the files of KUBECONFIG, else the in-cluster configuration, else ~/.kube/config.
	Kubeconfig string
	// Context is a context of the kubeconfig; empty for the current one.
	Context string
	// Replay is a recording to serve instead of a cluster, "-" for Stdin; empty for a cluster.
	Replay string
	// Namespaces are the only namespaces to watch; none for the whole cluster.
	Namespaces []string
	// AuditInterval is the time between two comparisons of the cache with a list, and of the state with a recompute; 0
	// for none.
	AuditInterval time.Duration
	// LeaderElect is whether replicas agree on one that publishes.
	LeaderElect bool
	// Election is the Lease and its times. Log, Registerer and Lead are the agent's.
	Election election.Options

	// Version is what the binary calls itself.
	Version string
	Log     *zap.Logger
	Stdin   io.Reader

	leaseNamespaceFlag *pflag.Flag // nil without AddFlags
}

// DefaultOptions are the options of an agent that is told nothing.
func DefaultOptions() Options {
	elect := election.DefaultOptions()
	// In a cluster the host's name is the pod's. Without it the random part of the identity is enough.
	host, _ := os.Hostname()
	elect.Identity = election.NewIdentity(host)
	return Options{
		Policy:        policies.Default,
		Listen:        ":8080",
		AuditInterval: 10 * time.Minute,
		LeaderElect:   true,
		Election:      elect,
		Version:       "dev",
		Log:           zap.NewNop(),
	}
}

// AddFlags makes the options settable on a command line.
func (o *Options) AddFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.Policy, "policy", o.Policy, "policy table: a file, which is loaded again when it changes and on SIGHUP, or the name of one that ships")
	flags.StringVar(&o.Waivers, "waivers", o.Waivers, "file of waivers beside the policy table, loaded again as it is")
	flags.StringVar(&o.Listen, "listen", o.Listen, "address of the HTTP endpoints")
	flags.StringVar(&o.HealthListen, "health-listen", o.HealthListen, "second address that serves /healthz and /readyz alone, without TLS, so that probes do not queue behind other clients (default: none)")
	flags.StringVar(&o.ProfileListen, "profile-listen", o.ProfileListen, "loopback address that serves the profiles of the process, for go tool pprof (default: none)")
	flags.StringVar(&o.Certificate.CertFile, "tls-cert-file", o.Certificate.CertFile, "certificate for TLS, a file of PEM that may be renewed in place (default: plain HTTP)")
	flags.StringVar(&o.Certificate.KeyFile, "tls-private-key-file", o.Certificate.KeyFile, "private key of the certificate")
	flags.BoolVar(&o.MetricsAuth, "metrics-auth", o.MetricsAuth, "let in to metrics and report whom the API server knows (TokenReview) and permits get on that path (SubjectAccessReview); needs TLS")
	flags.StringSliceVar(&o.MetricsAuthAudiences, "metrics-auth-audiences", o.MetricsAuthAudiences, "audiences, of which a token for --metrics-auth must have one (default: those of the API server)")
	flags.StringVar(&o.Kubeconfig, "kubeconfig", o.Kubeconfig, "kubeconfig file (default: the files of KUBECONFIG, else the in-cluster configuration, else ~/.kube/config)")
	flags.StringVar(&o.Context, "context", o.Context, "context of the kubeconfig (default: the current one)")
	flags.StringVar(&o.Replay, "replay", o.Replay, "serve a recording of pods, a file or - for standard input, instead of a cluster")
	flags.StringSliceVar(&o.Namespaces, "namespaces", o.Namespaces, "only namespaces to watch, separated by commas; list and watch of pods in each of them is all that it then needs (default: the whole cluster)")
	flags.DurationVar(&o.AuditInterval, "audit-interval", o.AuditInterval, "pause between two audits: the cache against a list of the pods, the state against a recompute; 0 for none")
	flags.BoolVar(&o.LeaderElect, "leader-elect", o.LeaderElect, "agree with other replicas, by a Lease, on one that publishes")
	flags.StringVar(&o.Election.Namespace, "lease-namespace", o.Election.Namespace, "namespace of the Lease; with --namespaces, the pod's own unless it is set")
	o.leaseNamespaceFlag = flags.Lookup("lease-namespace")
	flags.StringVar(&o.Election.Name, "lease-name", o.Election.Name, "name of the Lease")
	flags.DurationVar(&o.Election.LeaseDuration, "lease-duration", o.Election.LeaseDuration, "how long a standby waits for a leader that is silent")
	flags.DurationVar(&o.Election.RenewDeadline, "renew-deadline", o.Election.RenewDeadline, "how long a leader tries to renew the Lease before it gives up")
	flags.DurationVar(&o.Election.RetryPeriod, "retry-period", o.Election.RetryPeriod, "pause between tries to acquire or renew the Lease")
}

// Validate names every mistake in the options.
func (o *Options) Validate() error {
	var mistakes []error
	if o.Policy == "" {
		mistakes = append(mistakes, errors.New("--policy is empty: name a file, or a table that ships"))
	}
	if _, _, err := net.SplitHostPort(o.Listen); err != nil {
		mistakes = append(mistakes, invalidListen(o.Listen))
	}
	if _, _, err := net.SplitHostPort(o.HealthListen); o.HealthListen != "" && err != nil {
		mistakes = append(mistakes, fmt.Errorf("--health-listen %q must be host:port, for example 127.0.0.1:8081 or :8081", o.HealthListen))
	}
	if o.AuditInterval < 0 {
		mistakes = append(mistakes, fmt.Errorf("--audit-interval %s is negative: give a pause as 10m, or 0 for no audits", o.AuditInterval))
	}
	if o.ProfileListen != "" && !isLoopback(o.ProfileListen) {
		mistakes = append(mistakes, fmt.Errorf("--profile-listen %q is not on loopback, as 127.0.0.1:6060", o.ProfileListen))
	}
	mistakes = append(mistakes, o.validateAccess(), o.validateNamespaces())
	if o.Replay != "" && o.Kubeconfig != "" {
		mistakes = append(mistakes, errors.New("--replay and --kubeconfig exclude each other: a recording needs no cluster"))
	}
	if o.Replay != "" && o.Context != "" {
		mistakes = append(mistakes, errors.New("--replay and --context exclude each other: a recording needs no cluster"))
	}
	if o.Replay == "" && o.LeaderElect {
		mistakes = append(mistakes, o.Election.Validate())
	}
	return errors.Join(mistakes...)
}

// invalidListen says what is wrong with an address to listen on. Of an IPv6 address without brackets the last group looks
// like a port.
func invalidListen(address string) error {
	if i := strings.LastIndexByte(address, ':'); i > 0 && !strings.ContainsAny(address, "[]") {
		host, port := address[:i], address[i+1:]
		if _, err := netip.ParseAddr(host); err == nil && strings.Contains(host, ":") {
			return fmt.Errorf("--listen %q: an IPv6 address needs brackets: [%s]:%s", address, host, port)
		}
	}
	return fmt.Errorf("--listen %q is not host:port, as 127.0.0.1:8080 or :8080", address)
}

// validateAccess names the mistakes in the options of TLS and authorization.
func (o *Options) validateAccess() error {
	var mistakes []error
	if (o.Certificate.CertFile == "") != (o.Certificate.KeyFile == "") {
		mistakes = append(mistakes, errors.New("--tls-cert-file and --tls-private-key-file need each other"))
	}
	if o.MetricsAuth && o.Certificate.CertFile == "" {
		mistakes = append(mistakes, errors.New("--metrics-auth needs --tls-cert-file: tokens must not travel in the clear"))
	}
	if o.MetricsAuth && o.Replay != "" {
		mistakes = append(mistakes, errors.New("--metrics-auth needs a cluster to ask, and --replay has none"))
	}
	if len(o.MetricsAuthAudiences) > 0 && !o.MetricsAuth {
		mistakes = append(mistakes, errors.New("--metrics-auth-audiences needs --metrics-auth"))
	}
	return errors.Join(mistakes...)
}
