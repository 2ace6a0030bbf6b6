package main

import (
	"bytes"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/kube-devops/kube-devops/policies"
)

func newPolicyListCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "list",
		Short: "List the built-in policy tables",
		Long: `List the built-in policy tables with the number of their checks. Each name is
a value for --policy; "kube-devops policy show NAME" prints the table.`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var text bytes.Buffer
			w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
			_, _ = fmt.Fprintln(w, "NAME\tCHECKS\tDESCRIPTION") // writing to a buffer does not fail, here and below
			for _, name := range policies.Names() {
				source, _ := policies.Shipped(name)
				table, err := policies.Open(name)
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
	validateTogether(command)
	return command
}

// describe returns the first sentence of the comment at the top of a table.
func describe(source []byte) string {
	var comment strings.Builder
	for line := range strings.Lines(string(source)) {
		text, ok := strings.CutPrefix(line, "#")
		if !ok {
			break
		}
		if !strings.Contains(text, "yaml-language-server:") {
			comment.WriteString(text)
		}
	}
	sentence, _, _ := strings.Cut(strings.Join(strings.Fields(comment.String()), " ")+" ", ". ")
	return strings.TrimSpace(sentence)
}
