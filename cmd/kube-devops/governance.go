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
	// pluginName is the name of the program as a plugin of kubectl, and completionName that by which kubectl asks it for completions.
	pluginName     = "kubectl-governance"
	completionName = "kubectl_complete-governance"
)

// pluginArgs returns the arguments for a program of a name: as the plugin of kubectl it is the command governance.
func pluginArgs(program string, args []string) (plugin bool, _ []string) {
	switch strings.TrimSuffix(filepath.Base(program), ".exe") {
	case pluginName:
		return true, args
	case completionName:
		return true, append([]string{cobra.ShellCompRequestCmd}, args...)
	}
	return false, args
}

// governance asks the agent that leads.
type governance struct {
	kubeconfig, context string
	reach               portforward.Options
	output              *choice
	top                 int
}

func newGovernanceCommand() *cobra.Command {
	g := &governance{}
	command := newGroup("governance", "Ask the agent in a cluster, as kubectl governance",
		g.newScoreCommand(), g.newExplainCommand(), g.newWaiversCommand(), g.newOpenCommand())
	command.Long = `Ask the agent that leads in a cluster, from outside of it: find its pod by the
Lease, and forward a port to it with your own rights. As kubectl-governance in
the PATH, this program is the plugin "kubectl governance".

Your user needs these rights: get on the Lease, get on pods, create and get on
pods/portforward in the namespace of the agent, and, of an agent with
--metrics-auth, get on the non-resource URLs, such as /api/v1/report.`
	flags := command.PersistentFlags()
	flags.StringVarP(&g.reach.Namespace, "namespace", "n", portforward.DefaultNamespace, "`namespace` of the agent")
	flags.StringVar(&g.kubeconfig, "kubeconfig", "", "kubeconfig `file` (default: the files in KUBECONFIG, otherwise the in-cluster configuration, otherwise ~/.kube/config)")
	flags.StringVar(&g.context, "context", "", "kubeconfig `context` (default: the current one)")
	flags.StringVar(&g.reach.LeaseNamespace, "lease-namespace", "", "`namespace` of the Lease (default: that of the agent, otherwise default)")
	flags.StringVar(&g.reach.LeaseName, "lease-name", portforward.DefaultLeaseName, "`name` of the Lease")
	flags.StringVar(&g.reach.Pod, "pod", "", "`pod` to ask, instead of the holder of the Lease")
	flags.IntVar(&g.reach.Port, "port", 0, "`port` of the agent in its pod (default: the one named http)")
	flags.StringVar(&g.reach.TokenFile, "token-file", "", "`file` with the bearer token for an agent with --metrics-auth (default: the token of the kubeconfig)")
	flags.StringVar(&g.reach.CAFile, "agent-ca", "", "`file` with the CA of the agent's certificate (default: the certificate is not checked, because the API server has connected to the pod)")
	flags.StringVar(&g.reach.ServerName, "agent-server-name", "", "`name` in the agent's certificate, with --agent-ca (default: kube-devops.NAMESPACE.svc)")
	flags.DurationVar(&g.reach.Timeout, "request-timeout", 20*time.Second, "`time` to find the agent and connect to it")
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
		Use: "explain NAMESPACE", Short: "Print the findings of a namespace and what to do about them", Args: args(1, 1, "a namespace"),
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

// namespaceWords lists the namespaces of the report; none if the agent cannot be reached in time.
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
		Use: "waivers", Short: "Print what waivers accept, the next to expire first", Args: args(0, 0, ""),
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

// nextLeader is how long a standby takes to lead after a leader that has stopped.
const nextLeader = 2 * time.Second

// client makes a client of the agent. It sends no request yet.
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

// report reads the report of the leader. A leader that changes meanwhile cuts it off, so it is read twice at the most.
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

// get requests a page of the leader. A status other than 200 is an error that says what to do.
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
	text, _ := io.ReadAll(io.LimitReader(response.Body, 300)) // a part of the reason is better than none
	reason := dump.OneLine(strings.Join(strings.Fields(string(text)), " "))
	switch response.StatusCode {
	case http.StatusUnauthorized:
		return nil, fmt.Errorf("the agent does not accept your token: %s", reason)
	case http.StatusForbidden:
		if path == reportPath {
			path += " and on /metrics"
		}
		return nil, fmt.Errorf("your user lacks the right: get on the non-resource URL %s", path)
	case http.StatusNotFound:
		return nil, fmt.Errorf("the agent has no page %s: upgrade it, or name its port with --port", path)
	case http.StatusServiceUnavailable:
		return nil, fmt.Errorf("the agent has no data now: %s", reason)
	}
	return nil, fmt.Errorf("the agent answers %s with status %d: %s", path, response.StatusCode, reason)
}
