package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

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
	_, err := io.WriteString(to, tableList(tables, screenOf(to).width))
	return err
}

// tableList is the list as text. It wraps descriptions to a width, unless that is 0.
func tableList(tables []tableJSON, width int) string {
	name := len("NAME")
	for _, t := range tables {
		name = max(name, len(t.Name))
	}
	const checks, least = len("CHECKS"), 20
	start := name + 2 + checks + 2
	if width > 0 {
		width = max(width, start+least)
	}
	var text strings.Builder
	row := func(first, second, description string) {
		line := fmt.Sprintf("%-*s  %-*s  %s", name, first, checks, second, description)
		text.WriteString(strings.Join(report.Wrap(line, width, strings.Repeat(" ", start)), "\n") + "\n")
	}
	row("NAME", "CHECKS", "DESCRIPTION")
	for _, t := range tables {
		row(t.Name, strconv.Itoa(t.Checks), t.Description)
	}
	return text.String()
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
