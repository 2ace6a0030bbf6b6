package vap

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/kube-devops/kube-devops/rules"
)

// The API server takes a message of at most 5,120 bytes in one line; a longer one it replaces by a fixed text. The bounds below keep each
// line of a check so short that at least one fits, whatever characters its names have.
const (
	maxText  = 500 // bytes of what to do about a check
	maxNames = "500"
	maxName  = "253"
)

// maxEntries is how many checks an expression lists, so that their texts stay far below its greatest length.
const maxEntries = 100

// entries are variables that list the checks, those that judge every object and then those that judge only what deny exempts: for each
// its id and what to do, and the names of the subjects in which the new and the old pod violate it.
func (p *policy) entries() []named {
	var always, exempted []string
	for i := range p.table.Checks() {
		c := &p.table.Checks()[i]
		entry := "[[" + quotedList([]string{c.ID, whatToDo(c)}) + "]] + variables.check_" + c.ID
		if p.exempted[c.ID] {
			exempted = append(exempted, entry)
		} else {
			always = append(always, entry)
		}
	}
	var lists []named
	add := func(entries []string, of string) {
		for part := range slices.Chunk(entries, maxEntries) {
			lists = append(lists, named{fmt.Sprintf("checks_%d", len(lists)+1), text(fmt.Sprintf(of, "["+strings.Join(part, ", ")+"]"))})
		}
	}
	add(always, "%s")
	if len(always) > 0 {
		add(exempted, "variables.exempt ? %s : []")
	} else {
		add(exempted, "%s")
	}
	return lists
}

// failed is, for each check with violations that the old object does not have: its id, the names of the subjects in lines, and what to do.
func (p *policy) failed(entries []named, skips, annotated bool) string {
	var lists []string
	for _, e := range entries {
		lists = append(lists, "variables."+e.Name)
	}
	judged := strings.Join(lists, " + ")
	if len(lists) > 1 {
		judged = "(" + judged + ")"
	}
	onlyNew := "size(c) < 3"
	if skips {
		judged = "(variables.skipped[0] ? [] : " + judged + ")"
		onlyNew = "(size(c) < 3 || variables.skipped[1])"
	}
	waived := ""
	if annotated {
		waived = "c[0][0] in variables.waived ? [] : "
	}
	// Subjects may share a name, so that names are counted. The comparison is quadratic, and most updates change no violation.
	newOnes := waived + onlyNew + " ? c[1] : c[1] == c[2] ? [] : " +
		"c[1].filter(v, !(v in c[2]) || size(c[1].filter(w, w == v)) > size(c[2].filter(w, w == v)))"
	return judged + ".map(c, [c[0], " + newOnes + "]).filter(c, size(c[1]) > 0).map(c, [c[0][0], c[1]" +
		".map(v, (size(v) > " + maxName + " ? v.substring(0, " + maxName + ") + \"...\" : v).replace(\"\\n\", \" \").replace(\"\\r\", \" \"))" +
		".join(\"\\n\"), c[0][1]])"
}

// whatToDo is what the message says about a check.
func whatToDo(c *rules.Check) string {
	t := c.Remediation
	if t == "" {
		t = c.Message()
	}
	return clip(strings.TrimSuffix(oneLine(t), "."), maxText)
}

func oneLine(t string) string {
	return strings.Join(strings.FieldsFunc(t, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
}

func clip(t string, most int) string {
	if len(t) <= most {
		return t
	}
	const ellipsis = "..."
	for most -= len(ellipsis); !utf8.RuneStart(t[most]); most-- {
	}
	return t[:most] + ellipsis
}

// lines are the violations of each check in one line: its id, the subjects unless it is the pod, and what to do.
const lines = `variables.failed.map(f, ` +
	`[size(f[1]) <= ` + maxNames + ` ? f[1] : f[1].substring(0, f[1].substring(0, ` + maxNames + `).lastIndexOf("\n"))].map(n, ` +
	`f[0] + (n == "" ? "" : " (" + n.replace("\n", ", ") + ` +
	`(n == f[1] ? "" : " and " + string(size(f[1].split("\n")) - size(n.split("\n"))) + " more") + ")") + ": " + f[2])[0])`

// message joins the lines, as many as fit. Where characters have several bytes, the bound is lower.
const message = `[variables.lines.join("\n")].map(m, size(bytes(m)) <= 5000 ? m : ` +
	`m.substring(0, m.substring(0, size(bytes(m.substring(0, 4900))) <= 5000 ? 4900 : 1225).lastIndexOf("\n")))` +
	`.map(m, m.replace("\n", "; ") + (m == "" || size(m.split("\n")) == size(variables.lines) ? "" : ` +
	`"; and " + string(size(variables.lines) - size(m.split("\n"))) + " more"))[0]`
