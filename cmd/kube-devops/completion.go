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
	// completionTimeout limits how long the user waits in the shell.
	completionTimeout = 2 * time.Second
	maxCompletions    = 1000
)

// complete registers the completion of a flag.
func complete(command *cobra.Command, flag string, with cobra.CompletionFunc) {
	if err := command.RegisterFlagCompletionFunc(flag, with); err != nil {
		panic(err) // the flag does not exist
	}
}

// fixed completes a fixed list of words.
func fixed(words ...string) cobra.CompletionFunc {
	return cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp|cobra.ShellCompDirectiveKeepOrder)
}

// completeTables completes the names of built-in tables and files.
func completeTables(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	var words []string
	for _, name := range policies.Names() {
		words = append(words, cobra.CompletionWithDesc(name, "a built-in table"))
	}
	return words, cobra.ShellCompDirectiveDefault
}

// completePolicies completes the last table of a list with commas.
func completePolicies(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	words, files := completeTables(cmd, args, toComplete)
	if !strings.Contains(toComplete, ",") {
		return words, files
	}
	return completeLast(toComplete, words)
}

func completeContexts(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return kubeconfig.Contexts(cmd.Flag("kubeconfig").Value.String()), cobra.ShellCompDirectiveNoFileComp
}

// completeLast completes the last word of a list with commas.
func completeLast(list string, words []string) ([]string, cobra.ShellCompDirective) {
	before := list[:strings.LastIndexByte(list, ',')+1]
	given := strings.Split(before, ",")
	var all []string
	for _, word := range words {
		if name, _, _ := strings.Cut(word, "\t"); !slices.Contains(given, name) {
			all = append(all, before+word)
		}
	}
	return all, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

func completeScan(command *cobra.Command, o *scanOptions) {
	complete(command, "output", func(_ *cobra.Command, _ []string, toComplete string) ([]string, cobra.ShellCompDirective) {
		if strings.Contains(toComplete, "=") {
			return nil, cobra.ShellCompDirectiveDefault // the file
		}
		var words []string
		for _, f := range report.Formats() {
			words = append(words, cobra.CompletionWithDesc(f.Name, f.Help))
		}
		return words, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveKeepOrder
	})
	complete(command, "fail-on", fixed(o.failOn.words...))
	complete(command, "color", fixed(o.color.words...))
	complete(command, "policy", completePolicies)
	complete(command, "context", completeContexts)
	complete(command, "check", func(_ *cobra.Command, _ []string, toComplete string) ([]string, cobra.ShellCompDirective) {
		return completeLast(toComplete, o.checkWords())
	})
	for _, flag := range []string{"namespace", "explain"} {
		complete(command, flag, func(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
			return completeLast(toComplete, o.namespaceWords(cmd.Context(), args))
		})
	}
}

// completionTable loads the policy. While the shell completes, cobra parses the flags twice, so each table may be there twice.
func (o *scanOptions) completionTable() (*rules.Table, error) {
	var names []string
	for _, name := range o.policies {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return policies.Open(names...)
}

// checkWords lists the checks of the policy; none if it cannot be loaded.
func (o *scanOptions) checkWords() (words []string) {
	table, err := o.completionTable()
	if err != nil {
		return nil
	}
	for _, check := range table.Checks() {
		words = append(words, cobra.CompletionWithDesc(check.ID, dump.OneLine(check.Message())))
	}
	return words
}

// namespaceWords lists the namespaces of the cluster or of the files that the policy includes. It stops at completionTimeout,
// and lists none if they cannot be read.
func (o *scanOptions) namespaceWords(ctx context.Context, args []string) []string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), completionTimeout)
	defer cancel()
	if o.cluster.enabled {
		cluster, err := kubeconfig.FindCluster(o.cluster.kubeconfig, o.cluster.context)
		if err != nil {
			return nil
		}
		names, _ := podlist.Namespaces(ctx, cluster.Config) // none without permission
		return names
	}
	table, err := o.completionTable()
	if err != nil {
		return nil
	}
	found := make(map[string]bool)
	enough := errors.New("enough namespaces")
	for _, file := range dump.Find(args, nil).Files {
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
