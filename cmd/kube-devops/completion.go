package main

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kube-devops/kube-devops/agent/dump"
	"github.com/kube-devops/kube-devops/agent/kubeconfig"
	"github.com/kube-devops/kube-devops/agent/podlist"
	"github.com/kube-devops/kube-devops/agent/report"
	"github.com/kube-devops/kube-devops/policies"
	"github.com/kube-devops/kube-devops/rules"
)

const (
	// completionTime is how long a completion may take: somebody waits before the shell.
	completionTime = 2 * time.Second
	// maxCompletions is how many namespaces are offered.
	maxCompletions = 1000
)

// complete completes the values of a flag. Where the function fails there is nothing to offer.
func complete(command *cobra.Command, flag string, with cobra.CompletionFunc) {
	if err := command.RegisterFlagCompletionFunc(flag, with); err != nil {
		panic(err) // the flag is one of ours
	}
}

// fixed offers a closed set of words.
func fixed(words ...string) cobra.CompletionFunc {
	return cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp|cobra.ShellCompDirectiveKeepOrder)
}

// described is a word with what the shell shows beside it.
func described(word, text string) string {
	if text == "" {
		return word
	}
	return word + "\t" + dump.OneLine(text)
}

// tables are the tables that ship. They are offered beside files.
func tables() []string {
	var words []string
	for _, name := range policies.Names() {
		words = append(words, described(name, "a table that ships"))
	}
	return words
}

func completeTables(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return tables(), cobra.ShellCompDirectiveDefault
}

// listed completes the last of several words with commas between them.
func listed(toComplete string, words []string) ([]string, cobra.ShellCompDirective) {
	before := toComplete[:strings.LastIndexByte(toComplete, ',')+1]
	given := strings.Split(before, ",")
	var all []string
	for _, word := range words {
		if name, _, _ := strings.Cut(word, "\t"); !slices.Contains(given, name) {
			all = append(all, before+word)
		}
	}
	return all, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// completeAgent completes the flags of the agent.
func completeAgent(command *cobra.Command) {
	complete(command, "log-level", fixed(levels...))
	complete(command, "policy", completeTables)
	complete(command, "context", completeContexts)
}

func completeContexts(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return kubeconfig.Contexts(cmd.Flag("kubeconfig").Value.String()), cobra.ShellCompDirectiveNoFileComp
}

// completeScan completes the flags of a scan.
func completeScan(command *cobra.Command, o *scanOptions) {
	complete(command, "output", func(_ *cobra.Command, _ []string, toComplete string) ([]string, cobra.ShellCompDirective) {
		if strings.Contains(toComplete, "=") {
			return nil, cobra.ShellCompDirectiveDefault // the file
		}
		var words []string
		for _, f := range report.Formats() {
			words = append(words, described(f.Name, f.Help))
		}
		return words, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveKeepOrder
	})
	var levels []string
	for _, severity := range rules.Severities() {
		levels = append(levels, string(severity))
	}
	complete(command, "fail-on", fixed(append(levels, "any")...))
	complete(command, "color", fixed(colors...))
	complete(command, "policy", completeTables)
	complete(command, "context", completeContexts)
	complete(command, "check", func(_ *cobra.Command, _ []string, toComplete string) ([]string, cobra.ShellCompDirective) {
		return listed(toComplete, checksOf(o.policy))
	})
	for _, flag := range []string{"namespace", "explain"} {
		complete(command, flag, func(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
			return listed(toComplete, o.namespacesOf(cmd, args))
		})
	}
}

// checksOf are the checks of a table; none where it cannot be loaded.
func checksOf(policy string) []string {
	table, err := policies.Open(policy)
	if err != nil {
		return nil
	}
	var words []string
	for _, check := range table.Checks() {
		words = append(words, described(check.ID, check.Message()))
	}
	return words
}

// namespacesOf are the namespaces of what is to be scanned, as many as are found in a moment.
func (o *scanOptions) namespacesOf(cmd *cobra.Command, args []string) []string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(cmd.Context()), completionTime)
	defer cancel()
	if o.cluster.cluster {
		cluster, err := kubeconfig.FindCluster(o.cluster.kubeconfig, o.cluster.context)
		if err != nil {
			return nil
		}
		names, _ := podlist.Namespaces(ctx, cluster.Config) // none where they may not be listed
		return names
	}
	table, err := policies.Open(o.policy)
	if err != nil {
		return nil
	}
	return recordedNamespaces(ctx, table, args)
}

// recordedNamespaces are the namespaces of files that the table includes. It reads until ctx is done, or until there are
// many.
func recordedNamespaces(ctx context.Context, table *rules.Table, args []string) []string {
	found := make(map[string]bool)
	enough := errors.New("enough namespaces")
	for _, file := range dump.Find(args, nil).Files { // what cannot be read is for the scan to say
		if file.Path == "-" || ctx.Err() != nil {
			continue
		}
		options := []dump.Option{dump.Manifests, dump.Unchecked, dump.KeepGoing(func(*dump.Error) {})}
		if file.Found {
			options = append(options, dump.InFolder)
		}
		_, err := dump.ReadPath(ctx, file.Path, strings.NewReader(""), func(e dump.Event) error {
			if table.Includes(e.Namespace) {
				found[strings.Clone(e.Namespace)] = true
			}
			if len(found) >= maxCompletions {
				return enough
			}
			return nil
		}, options...)
		if errors.Is(err, enough) {
			break
		}
	}
	return slices.Sorted(maps.Keys(found))
}
