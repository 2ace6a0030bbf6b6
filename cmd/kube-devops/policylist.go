package main

import (
	"bytes"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/kube-devops/kube-devops/policies"
	"github.com/kube-devops/kube-devops/rules"
)

func newPolicyListCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "list",
		Short: "List the policy tables that ship",
		Long: `List the policy tables that ship, with the number of their checks. Each name is
a value of --policy; "kube-devops policy show NAME" prints the table.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var text bytes.Buffer
			w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
			_, _ = fmt.Fprintln(w, "NAME\tCHECKS\tDESCRIPTION") // a buffer takes everything, here and below
			for _, name := range policies.Names() {
				source, _ := policies.Shipped(name)
				table, err := rules.Load(name+".yaml", source)
				if err != nil {
					return err
				}
				_, _ = fmt.Fprintf(w, "%s\t%d\t%s\n", name, len(table.Checks()), describe(source))
			}
			_ = w.Flush()
			_, err := text.WriteTo(cmd.OutOrStdout())
			return err
		},
	}
	checkTogether(command)
	return command
}

// describe is the first sentence of the comment at the top of a table.
func describe(source []byte) string {
	var words []string
	for line := range strings.Lines(string(source)) {
		comment, ok := strings.CutPrefix(strings.TrimSpace(line), "#")
		if !ok {
			break
		}
		if strings.HasPrefix(strings.TrimSpace(comment), "yaml-language-server:") {
			continue // for editors
		}
		words = append(words, strings.Fields(comment)...)
		if end := len(words) - 1; end >= 0 && strings.HasSuffix(words[end], ".") {
			break
		}
	}
	sentence, _, _ := strings.Cut(strings.Join(words, " "), ". ")
	return strings.TrimSuffix(sentence, ".")
}
