package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kube-devops/kube-devops/agent/dump"
	"github.com/kube-devops/kube-devops/agent/kubeconfig"
	"github.com/kube-devops/kube-devops/agent/portforward"
	"github.com/kube-devops/kube-devops/agent/report"
)

const (
	// pluginName is the program's name when it is installed as a kubectl plugin. kubectl runs completionName to complete its arguments.
	pluginName     = "kubectl-governance"
	completionName = "kubectl_complete-governance"
)

// pluginArgs reports whether the program runs as the kubectl plugin, and returns the arguments to parse.
func pluginArgs(program string, args []string) (plugin bool, _ []string) {
	switch strings.TrimSuffix(filepath.Base(program), ".exe") {
	case pluginName:
		return true, args
	case completionName:
		return true, append([]string{cobra.ShellCompRequestCmd}, args...)
	}
	return false, args
}

// governance holds the flags of the commands that query the leading agent.
type governance struct {
	kubeconfig, context string
	reach               portforward.Options
	output              *choice
	top                 int
}

func newGovernanceCommand() *cobra.Command {
	g := &governance{}
	command := newGroup("governance", "Query the agent in a cluster, also as kubectl governance",
		g.newScoreCommand(), g.newExplainCommand(), g.newWaiversCommand(), g.newOpenCommand())
	command.Long = `Query the leading agent of a cluster from a machine outside the cluster. The
command reads the Lease to find the leader's pod, and forwards a port to that
pod with your own permissions. If this program is in the PATH under the name
kubectl-governance, it is the kubectl plugin "kubectl governance".

Your user needs these permissions: get on the Lease; get on pods, and create and
get on pods/portforward, in the namespace of the agent; and, if the agent runs
with --metrics-auth, get on the non-resource URLs, such as /api/v1/report.`
	flags := command.PersistentFlags()
	flags.StringVarP(&g.reach.Namespace, "namespace", "n", portforward.DefaultNamespace, "`namespace` of the agent")
	flags.StringVar(&g.kubeconfig, "kubeconfig", "", "kubeconfig `file` (default: the files in KUBECONFIG, otherwise the in-cluster configuration, otherwise ~/.kube/config)")
	flags.StringVar(&g.context, "context", "", "kubeconfig `context` (default: the current one)")
	flags.StringVar(&g.reach.LeaseNamespace, "lease-namespace", "", "`namespace` of the Lease (default: the namespace of the agent, then the namespace default)")
	flags.StringVar(&g.reach.LeaseName, "lease-name", portforward.DefaultLeaseName, "`name` of the Lease")
	flags.StringVar(&g.reach.Pod, "pod", "", "`pod` to query, instead of the holder of the Lease")
	flags.IntVar(&g.reach.Port, "port", 0, "`port` of the agent in its pod (default: the port named http)")
	flags.StringVar(&g.reach.TokenFile, "token-file", "", "`file` with the bearer token for an agent with --metrics-auth (default: the token of the kubeconfig)")
	flags.StringVar(&g.reach.CAFile, "agent-ca", "", "`file` with the CA of the agent's certificate (default: the certificate is not verified, because the API server itself connects to the pod)")
	flags.StringVar(&g.reach.ServerName, "agent-server-name", "", "`name` in the agent's certificate, with --agent-ca (default: kube-devops.NAMESPACE.svc)")
	flags.DurationVar(&g.reach.Timeout, "request-timeout", 20*time.Second, "maximum `time` to find the agent and connect to it")
	complete(command, "context", completeContexts)
	return command
}

func (g *governance) newScoreCommand() *cobra.Command {
	command := &cobra.Command{
		Use: "score", Short: "Print the scores of the namespaces, worst first", Args: args(0, 0, ""),
	}
	g.addOutput(command)
	command.RunE = func(cmd *cobra.Command, _ []string) error {
		doc, err := g.report(cmd.Context(), report.ReadOptions{Namespace: everyNamespace})
		if err != nil {
			return err
		}
		return g.print(cmd, doc, report.DocumentScores, report.DocumentScoresJSON)
	}
	return command
}

func everyNamespace(*report.DocumentNamespace) bool { return true }

func (g *governance) newExplainCommand() *cobra.Command {
	command := &cobra.Command{
		Use: "explain NAMESPACE", Short: "Print the findings of a namespace and how to fix them", Args: args(1, 1, "a namespace"),
	}
	g.addOutput(command)
	command.RunE = func(cmd *cobra.Command, args []string) error {
		doc, err := g.report(cmd.Context(), report.ReadOptions{Namespace: everyNamespace, Violations: func(namespace string) bool { return namespace == args[0] }})
		if err != nil {
			return err
		}
		return g.print(cmd, doc,
			func(to io.Writer, doc *report.Document, o report.Options) error {
				return report.DocumentExplain(to, doc, args[0], o)
			},
			func(to io.Writer, doc *report.Document) error { return report.DocumentExplainJSON(to, doc, args[0]) })
	}
	command.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return g.namespaceWords(cmd.Context()), cobra.ShellCompDirectiveNoFileComp
	}
	return command
}

// namespaceWords returns the namespaces of the report to complete. It returns nil if the agent does not respond in time.
func (g *governance) namespaceWords(ctx context.Context) (words []string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), completionTimeout)
	defer cancel()
	doc, err := g.report(ctx, report.ReadOptions{Namespace: everyNamespace})
	if err != nil {
		return nil
	}
	for _, ns := range doc.Namespaces[:min(len(doc.Namespaces), maxCompletions)] {
		words = append(words, dump.OneLine(ns.Namespace))
	}
	return words
}

func (g *governance) newWaiversCommand() *cobra.Command {
	command := &cobra.Command{
		Use: "waivers", Short: "Print the violations that waivers accept, sorted by expiry", Args: args(0, 0, ""),
	}
	g.addOutput(command)
	command.RunE = func(cmd *cobra.Command, _ []string) error {
		doc, err := g.report(cmd.Context(), report.ReadOptions{Violations: func(string) bool { return true }})
		if err != nil {
			return err
		}
		return g.print(cmd, doc, report.DocumentWaivers, report.DocumentWaiversJSON)
	}
	return command
}

func (g *governance) addOutput(command *cobra.Command) {
	output := addOutputFlag(command, "table", "json")
	top := command.Flags().Int("top", topUnset, "`number` of namespaces or findings to list; 0 for all (default: 20 and 30 on a terminal, otherwise all)")
	command.Flags().Lookup("top").DefValue = ""
	validateTogether(command, func() error {
		g.output, g.top = output, *top
		if g.top < 0 && g.top != topUnset {
			return fmt.Errorf("--top must be 0 or greater, got %d", g.top)
		}
		return g.validate()
	})
}

func (g *governance) validate() error {
	var errs []error
	if g.reach.Port < 0 || g.reach.Port > 65535 {
		errs = append(errs, fmt.Errorf("--port must be from 1 to 65535, got %d", g.reach.Port))
	}
	if g.reach.Timeout <= 0 {
		errs = append(errs, fmt.Errorf("--request-timeout must be greater than 0, got %s", g.reach.Timeout))
	}
	if g.reach.Namespace == "" || g.reach.LeaseName == "" {
		errs = append(errs, errors.New("--namespace and --lease-name must not be empty"))
	}
	if g.reach.ServerName != "" && g.reach.CAFile == "" {
		errs = append(errs, errors.New("--agent-server-name needs --agent-ca"))
	}
	return errors.Join(errs...)
}

func (g *governance) print(
	cmd *cobra.Command, doc *report.Document,
	table func(io.Writer, *report.Document, report.Options) error, asJSON func(io.Writer, *report.Document) error,
) error {
	if g.output.value == "json" {
		return asJSON(cmd.OutOrStdout(), doc)
	}
	screen := screenOf(cmd.OutOrStdout())
	o := screen.fit(report.Options{Top: max(0, g.top), Findings: max(0, g.top), Color: useColor("", screen, os.Getenv)}, g.top)
	return table(cmd.OutOrStdout(), doc, o)
}

// nextLeader is how long a standby takes to become the leader after the leader has stopped.
const nextLeader = 2 * time.Second

// client returns a client of the agent. It does not send a request.
func (g *governance) client() (*portforward.Client, error) {
	cluster, err := kubeconfig.FindCluster(g.kubeconfig, g.context)
	if errors.Is(err, kubeconfig.ErrNoCluster) {
		return nil, fmt.Errorf("%w: name one with --kubeconfig", err)
	}
	if err != nil {
		return nil, err
	}
	cluster.Config.UserAgent = pluginName + "/" + version
	o := g.reach
	o.Pause = nextLeader
	return portforward.NewClient(cluster.Config, o)
}

// report reads the report of the leader. It retries once, because a change of the leader cuts the response off.
func (g *governance) report(ctx context.Context, o report.ReadOptions) (*report.Document, error) {
	client, err := g.client()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	for last := false; ; last = true {
		doc, err := readReport(ctx, client, o)
		if err == nil || last || !errors.Is(err, io.ErrUnexpectedEOF) {
			return doc, err
		}
	}
}

const reportPath = "/api/v1/report"

func readReport(ctx context.Context, client *portforward.Client, o report.ReadOptions) (*report.Document, error) {
	response, err := get(ctx, client, reportPath, "application/json")
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	return report.ReadDocument(response.Body, o)
}

// get requests a page from the leader. For a status other than 200 it returns an error that says how to fix the problem.
func get(ctx context.Context, client http.RoundTripper, path, accept string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://agent"+path, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", accept)
	response, err := client.RoundTrip(r)
	if err != nil || response.StatusCode == http.StatusOK {
		return response, err
	}
	defer func() { _ = response.Body.Close() }()
	text, _ := io.ReadAll(io.LimitReader(response.Body, 300)) // on a read error, show the part that was read
	reason := dump.OneLine(strings.Join(strings.Fields(string(text)), " "))
	switch response.StatusCode {
	case http.StatusUnauthorized:
		return nil, fmt.Errorf("the agent does not accept your token: %s", reason)
	case http.StatusForbidden:
		if path == reportPath {
			path += " and on /metrics"
		}
		return nil, fmt.Errorf("your user lacks the permission: get on the non-resource URL %s", path)
	case http.StatusNotFound:
		return nil, fmt.Errorf("the agent does not serve %s: upgrade the agent, or set its port with --port", path)
	case http.StatusServiceUnavailable:
		return nil, fmt.Errorf("the agent has no data at the moment: %s", reason)
	}
	return nil, fmt.Errorf("the agent returned status %d for %s: %s", response.StatusCode, path, reason)
}
