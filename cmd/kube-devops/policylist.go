package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/kube-devops/kube-devops/agent/report"
	"github.com/kube-devops/kube-devops/policies"
)

func newPolicyListCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "list [FILE|NAME]",
		Short: "List the built-in policy tables, or the checks of a table",
		Long: `List the built-in policy tables, or the checks of one table by category: a file
or a built-in table. Each name is a value for --policy; "kube-devops policy show
NAME" prints the whole table.`,
		Args: args(0, 1, "a table"),
	}
	format := addOutputFlag(command, "text", "json")
	command.RunE = func(cmd *cobra.Command, args []string) error {
		to := cmd.OutOrStdout()
		if len(args) == 0 {
			return listTables(to, format.value)
		}
		table, err := policies.Open(args...)
		switch {
		case err != nil:
			return err
		case format.value == "json":
			return report.PolicyChecksJSON(to, table)
		}
		s := screenOf(to)
		return report.PolicyChecks(to, table, report.Options{Width: s.width, Color: useColor("", s, os.Getenv)})
	}
	command.ValidArgsFunction = func(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return completeTables(cmd, args, toComplete)
		}
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	validateTogether(command)
	return command
}

type tableJSON struct {
	Name        string `json:"name"`
	Hash        string `json:"hash"`
	Checks      int    `json:"checks"`
	Description string `json:"description"`
}

// listTables lists the built-in tables.
func listTables(to io.Writer, format string) error {
	var tables []tableJSON
	for _, name := range policies.Names() {
		source, _ := policies.Shipped(name)
		table, err := policies.Open(name)
		if err != nil {
			return err
		}
		tables = append(tables, tableJSON{name, table.Hash(), len(table.Checks()), describe(source)})
	}
	if format == "json" {
		encoder := json.NewEncoder(to)
		encoder.SetIndent("", "  ")
		return encoder.Encode(map[string]any{"tables": tables})
	}
	var text bytes.Buffer
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "NAME\tCHECKS\tDESCRIPTION") // writing to a buffer does not fail, here and below
	for _, t := range tables {
		_, _ = fmt.Fprintf(w, "%s\t%d\t%s\n", t.Name, t.Checks, t.Description)
	}
	_ = w.Flush()
	_, err := text.WriteTo(to)
	return err
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
