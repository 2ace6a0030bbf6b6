package agent

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"go.uber.org/zap"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/kube-devops/kube-devops/agent/election"
	"github.com/kube-devops/kube-devops/agent/leaderservice"
	"github.com/kube-devops/kube-devops/agent/server"
	"github.com/kube-devops/kube-devops/policies"
)

// Options configure an agent.
type Options struct {
	// Policies are files of policy tables, or names of tables that ship. Several are one table that extends them all.
	Policies []string
	// Waivers is a file of waivers; empty for none.
	Waivers string
	// Reload asks, by each signal, to read the files of policy and waivers at once; nil for none.
	Reload <-chan os.Signal
	// Listen is the address of the HTTP endpoints.
	Listen string
	// HealthListen is an address that serves only health checks, without TLS; empty for none.
	HealthListen string
	// ProfileListen is the loopback address of the profiles; empty for none.
	ProfileListen string
	// Certificate is for TLS at Listen; empty for plain HTTP.
	Certificate server.Certificate
	// MetricsAuth makes the API server decide who may read metrics and the report.
	MetricsAuth bool
	// MetricsAuthAudiences: a token must have one of these audiences; none for those of the API server.
	MetricsAuthAudiences []string
	// Kubeconfig is a file; empty for the files of KUBECONFIG, else the in-cluster configuration, else ~/.kube/config.
	Kubeconfig string
	// Context is a context of the kubeconfig; empty for the current one.
	Context string
	// Replay is a recording to serve instead of a cluster, "-" for Stdin; empty for a cluster.
	Replay string
	// Namespaces are the only namespaces to watch; none for the whole cluster.
	Namespaces []string
	// AuditInterval is the pause between two audits, of the cache against a list and of the state against a recompute; 0 for
	// none.
	AuditInterval time.Duration
	// LeaderElect makes replicas elect one that publishes.
	LeaderElect bool
	// LeaderService is the Service without selector, as NAMESPACE/NAME, whose EndpointSlices the leader fills; empty for none.
	LeaderService string
	// PodIPs are the addresses of this pod, for LeaderService.
	PodIPs []string
	// Election has the Lease and its times; New sets Log, Registerer, Lead and InSync.
	Election election.Options

	// ExternalURL is the address of the status page for people, which meets the leader; empty if there is none.
	ExternalURL string
	// HistoryURL is where older scores are kept. "{namespace}" in it stands for the namespace of a page. Empty if there is none.
	HistoryURL string

	// Version is the version of the binary.
	Version string
	Log     *zap.Logger
	Stdin   io.Reader

	leaseNamespaceFlag *pflag.Flag // nil without AddFlags
}

// DefaultOptions returns the options that apply without flags.
func DefaultOptions() Options {
	elect := election.DefaultOptions()
	// In a cluster the host's name is the pod's. Without it the random part of the identity is enough.
	host, _ := os.Hostname()
	elect.Identity = election.NewIdentity(host)
	return Options{
		Policies:      []string{policies.Default},
		Listen:        ":8080",
		AuditInterval: 10 * time.Minute,
		LeaderElect:   true,
		Election:      elect,
		Version:       "dev",
		Log:           zap.NewNop(),
	}
}

// AddFlags adds a flag for each option.
func (o *Options) AddFlags(flags *pflag.FlagSet) {
	flags.StringSliceVar(&o.Policies, "policy", o.Policies, "policy table: a file, which is reloaded on a change and on SIGHUP, or the name of a table that ships; of several, each changes those before it, as with extends")
	flags.Lookup("policy").DefValue = strconv.Quote(strings.Join(o.Policies, ","))
	flags.StringVar(&o.Waivers, "waivers", o.Waivers, "file of waivers, reloaded as the policy table is")
	flags.StringVar(&o.Listen, "listen", o.Listen, "address of the HTTP endpoints")
	flags.StringVar(&o.HealthListen, "health-listen", o.HealthListen, "second address that serves only /healthz and /readyz, without TLS, where probes do not queue behind other clients (default: none)")
	flags.StringVar(&o.ProfileListen, "profile-listen", o.ProfileListen, "loopback address that serves profiles for go tool pprof (default: none)")
	flags.StringVar(&o.Certificate.CertFile, "tls-cert-file", o.Certificate.CertFile, "PEM file of the TLS certificate, reloaded when it changes (default: plain HTTP)")
	flags.StringVar(&o.Certificate.KeyFile, "tls-private-key-file", o.Certificate.KeyFile, "PEM file of the private key")
	flags.BoolVar(&o.MetricsAuth, "metrics-auth", o.MetricsAuth, "serve metrics and report only to clients that the API server authenticates (TokenReview) and authorizes to get the path (SubjectAccessReview); requires TLS")
	flags.StringSliceVar(&o.MetricsAuthAudiences, "metrics-auth-audiences", o.MetricsAuthAudiences, "with --metrics-auth: audiences that a token may be for (default: those of the API server)")
	flags.StringVar(&o.ExternalURL, externalURL, o.ExternalURL, "address at which users reach the status page of the leader; the page of a standby links to it")
	flags.StringVar(&o.HistoryURL, "history-url", o.HistoryURL, "address of a dashboard with older scores, to which the status page links; {namespace} in it is replaced by the namespace of the page")
	flags.StringVar(&o.Kubeconfig, "kubeconfig", o.Kubeconfig, "kubeconfig file (default: the files of KUBECONFIG, else the in-cluster configuration, else ~/.kube/config)")
	flags.StringVar(&o.Context, "context", o.Context, "context of the kubeconfig (default: the current one)")
	flags.StringVar(&o.Replay, "replay", o.Replay, "serve a recording of pods instead of a cluster: a file, or - for standard input")
	flags.StringSliceVar(&o.Namespaces, "namespaces", o.Namespaces, "only namespaces to watch, separated by commas; requires list and watch of pods only in them (default: the whole cluster)")
	flags.DurationVar(&o.AuditInterval, "audit-interval", o.AuditInterval, "pause between two audits, of the cache against a list of the pods and of the state against a recompute; 0 for none")
	flags.BoolVar(&o.LeaderElect, "leader-elect", o.LeaderElect, "elect, by a Lease, the one replica that publishes")
	flags.StringVar(&o.LeaderService, "leader-service", o.LeaderService, "Service without selector, as NAMESPACE/NAME, whose EndpointSlices NAME-ipv4 and NAME-ipv6 the leader fills with its address; requires get and update on them (default: none)")
	flags.StringSliceVar(&o.PodIPs, "pod-ips", o.PodIPs, "with --leader-service: addresses of this pod, separated by commas, one for each address family (status.podIPs of the downward API)")
	flags.StringVar(&o.Election.Namespace, "lease-namespace", o.Election.Namespace, "namespace of the Lease; with --namespaces, the default is that of the pod")
	o.leaseNamespaceFlag = flags.Lookup("lease-namespace")
	flags.StringVar(&o.Election.Name, "lease-name", o.Election.Name, "name of the Lease")
	flags.DurationVar(&o.Election.LeaseDuration, "lease-duration", o.Election.LeaseDuration, "how long a standby waits for a leader that does not renew the Lease")
	flags.DurationVar(&o.Election.RenewDeadline, "renew-deadline", o.Election.RenewDeadline, "how long a leader tries to renew the Lease before it gives up")
	flags.DurationVar(&o.Election.RetryPeriod, "retry-period", o.Election.RetryPeriod, "pause between attempts to acquire or renew the Lease")
}

// Validate returns every mistake in the options, joined.
func (o *Options) Validate() error {
	var mistakes []error
	if len(o.Policies) == 0 || slices.Contains(o.Policies, "") {
		mistakes = append(mistakes, errors.New("--policy must name a file, or a table that ships"))
	}
	if _, _, err := net.SplitHostPort(o.Listen); err != nil {
		mistakes = append(mistakes, invalidListen(o.Listen))
	}
	if _, _, err := net.SplitHostPort(o.HealthListen); o.HealthListen != "" && err != nil {
		mistakes = append(mistakes, fmt.Errorf("--health-listen %q must be host:port, for example 127.0.0.1:8081 or :8081", o.HealthListen))
	}
	if o.AuditInterval < 0 {
		mistakes = append(mistakes, fmt.Errorf("--audit-interval must be 0 or greater, got %s", o.AuditInterval))
	}
	if o.ProfileListen != "" && !isLoopback(o.ProfileListen) {
		mistakes = append(mistakes, fmt.Errorf("--profile-listen %q must be a loopback address, for example 127.0.0.1:6060", o.ProfileListen))
	}
	mistakes = append(mistakes, o.validateAccess(), o.validateNamespaces(), o.validateLeaderService(),
		validateURL(externalURL, o.ExternalURL), validateURL("history-url", o.HistoryURL))
	if o.Replay != "" && o.Kubeconfig != "" {
		mistakes = append(mistakes, errors.New("--replay and --kubeconfig cannot be combined: a recording needs no cluster"))
	}
	if o.Replay != "" && o.Context != "" {
		mistakes = append(mistakes, errors.New("--replay and --context cannot be combined: a recording needs no cluster"))
	}
	if o.Replay == "" && o.LeaderElect {
		mistakes = append(mistakes, o.Election.Validate())
	}
	return errors.Join(mistakes...)
}

// invalidListen returns what is wrong with an address to listen on. In an IPv6 address without brackets, the last group looks
// like a port.
func invalidListen(address string) error {
	if i := strings.LastIndexByte(address, ':'); i > 0 && !strings.ContainsAny(address, "[]") {
		host, port := address[:i], address[i+1:]
		if _, err := netip.ParseAddr(host); err == nil && strings.Contains(host, ":") {
			return fmt.Errorf("--listen %q: an IPv6 address needs brackets: [%s]:%s", address, host, port)
		}
	}
	return fmt.Errorf("--listen %q must be host:port, for example 127.0.0.1:8080 or :8080", address)
}

// validateAccess returns the mistakes in the options of TLS and authorization.
func (o *Options) validateAccess() error {
	var mistakes []error
	if (o.Certificate.CertFile == "") != (o.Certificate.KeyFile == "") {
		mistakes = append(mistakes, errors.New("--tls-cert-file and --tls-private-key-file must be set together"))
	}
	if o.MetricsAuth && o.Certificate.CertFile == "" {
		mistakes = append(mistakes, errors.New("--metrics-auth requires --tls-cert-file, because tokens must not be sent unencrypted"))
	}
	if o.MetricsAuth && o.Replay != "" {
		mistakes = append(mistakes, errors.New("--metrics-auth and --replay cannot be combined: a recording has no API server"))
	}
	if len(o.MetricsAuthAudiences) > 0 && !o.MetricsAuth {
		mistakes = append(mistakes, errors.New("--metrics-auth-audiences requires --metrics-auth"))
	}
	return errors.Join(mistakes...)
}

// validateNamespaces returns the mistakes in --namespaces.
func (o *Options) validateNamespaces() error {
	var mistakes []error
	for i, name := range o.Namespaces {
		if wrong := validation.IsDNS1123Label(name); len(wrong) > 0 {
			mistakes = append(mistakes, fmt.Errorf("--namespaces: %.64q is not the name of a namespace; patterns are not supported here", name))
		}
		if slices.Contains(o.Namespaces[:i], name) {
			mistakes = append(mistakes, fmt.Errorf("--namespaces: %s appears twice", name))
		}
	}
	if len(o.Namespaces) > 0 && o.Replay != "" {
		mistakes = append(mistakes, errors.New("--namespaces and --replay cannot be combined"))
	}
	return errors.Join(mistakes...)
}

// validateLeaderService returns the mistakes in the options of the leader's Service.
func (o *Options) validateLeaderService() error {
	if o.LeaderService == "" {
		if len(o.PodIPs) > 0 {
			return errors.New("--pod-ips requires --leader-service")
		}
		return nil
	}
	var mistakes []error
	if o.Replay != "" {
		mistakes = append(mistakes, errors.New("--leader-service and --replay cannot be combined: a recording has no Service"))
	}
	if !o.LeaderElect {
		mistakes = append(mistakes, errors.New("--leader-service requires --leader-elect, which decides who may fill the EndpointSlices"))
	}
	if _, _, err := leaderservice.ParseName(o.LeaderService); err != nil {
		mistakes = append(mistakes, fmt.Errorf("--leader-service: %w", err))
	}
	if _, err := leaderservice.ParseIPs(o.PodIPs); err != nil {
		mistakes = append(mistakes, fmt.Errorf("--pod-ips: %w", err))
	}
	return errors.Join(mistakes...)
}

// namespaceFile is where Kubernetes mounts the name of the pod's own namespace.
const namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// ownLeaseNamespace moves the Lease to the pod's own namespace if --namespaces is set, because the agent is likely to have no
// rights elsewhere. A namespace that was set by flag stays.
func (o *Options) ownLeaseNamespace(file string) {
	if len(o.Namespaces) == 0 || o.leaseNamespaceFlag != nil && o.leaseNamespaceFlag.Changed {
		return
	}
	if name := ownNamespace(file); name != "" {
		o.Election.Namespace = name
	}
}
