package vap

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/kube-devops/kube-devops/rules"
)

// The API server accepts a message of one line with at most 5,120 bytes, and replaces any other message with a fixed text. With the limits
// below, the text of at least one check always fits.
const (
	maxText  = 500 // bytes of the remediation of a check
	maxNames = "500"
	maxName  = "253"
)

// maxEntries is the maximum number of checks in one expression. It keeps expressions far below their maximum length.
const maxEntries = 100

// entries returns variables that list the checks: first those that apply to every object, then those that apply only to objects that deny
// exempts. The entry of a check has its id, its remediation, and the names of its violating subjects in the new and in the old pod.
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

// failed returns the expression for the checks with violations that the old object does not have. The entry of a check has its id, the names
// of the subjects, one on each line, and its remediation.
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
	// Count the names, because subjects may have the same name. Counting is quadratic, so first test the common case of equal lists.
	newOnes := waived + onlyNew + " ? c[1] : c[1] == c[2] ? [] : " +
		"c[1].filter(v, !(v in c[2]) || size(c[1].filter(w, w == v)) > size(c[2].filter(w, w == v)))"
	return judged + ".map(c, [c[0], " + newOnes + "]).filter(c, size(c[1]) > 0).map(c, [c[0][0], c[1]" +
		".map(v, (size(v) > " + maxName + " ? v.substring(0, " + maxName + ") + \"...\" : v).replace(\"\\n\", \" \").replace(\"\\r\", \" \"))" +
		".join(\"\\n\"), c[0][1]])"
}

// whatToDo returns the remediation of a check for the message; the message of the check if it has no remediation.
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

// lines is the expression for one line for each failed check: its id, the names of its subjects unless the subject is the pod, and its
// remediation.
const lines = `variables.failed.map(f, ` +
	`[size(f[1]) <= ` + maxNames + ` ? f[1] : f[1].substring(0, f[1].substring(0, ` + maxNames + `).lastIndexOf("\n"))].map(n, ` +
	`f[0] + (n == "" ? "" : " (" + n.replace("\n", ", ") + ` +
	`(n == f[1] ? "" : " and " + string(size(f[1].split("\n")) - size(n.split("\n"))) + " more") + ")") + ": " + f[2])[0])`

// message is the expression that joins as many lines as fit. substring counts characters, so the limit is lower if characters have several
// bytes.
const message = `[variables.lines.join("\n")].map(m, size(bytes(m)) <= 5000 ? m : ` +
	`m.substring(0, m.substring(0, size(bytes(m.substring(0, 4900))) <= 5000 ? 4900 : 1225).lastIndexOf("\n")))` +
	`.map(m, m.replace("\n", "; ") + (m == "" || size(m.split("\n")) == size(variables.lines) ? "" : ` +
	`"; and " + string(size(variables.lines) - size(m.split("\n"))) + " more"))[0]`
