package rules

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/rules/suggest"
)

// maxMessageBytes bounds the text of a check's message, and with it how often it can repeat a value of a pod.
const maxMessageBytes = 1 << 10

// placeholders are the names that a message may have in braces.
var placeholders = []string{"value", "container", "subject"}

var placeholder = regexp.MustCompile(`\{([^{}]*)\}`)

// A messageText is the message of a check. The empty one stands for none.
type messageText string

// fill replaces the placeholders.
func (m messageText) fill(with func(name string) string) string {
	return placeholder.ReplaceAllStringFunc(string(m), func(found string) string { return with(found[1 : len(found)-1]) })
}

// message reads the message of a check. A brace that is not part of a placeholder is an error: a wrong placeholder would otherwise stand
// in each report.
func (r *loader) message(node *yaml.Node) messageText {
	text := r.NonEmptyText(node, "message")
	if len(text) > maxMessageBytes {
		r.Errorf(node, "message has %d bytes; at most %d are allowed", len(text), maxMessageBytes)
		return ""
	}
	rest := placeholder.ReplaceAllStringFunc(text, func(found string) string {
		name := found[1 : len(found)-1]
		if !slices.Contains(placeholders, name) {
			r.Errorf(node, "message: unknown placeholder %q%s; %s", found, didYouMeanPlaceholder(name), knownPlaceholders())
		}
		return ""
	})
	if at := strings.IndexAny(rest, "{}"); at >= 0 {
		r.Errorf(node, "message: the brace %q is not part of a placeholder; %s", rest[at:at+1], knownPlaceholders())
	}
	return messageText(text)
}

func didYouMeanPlaceholder(name string) string {
	if nearest := suggest.Nearest(strings.TrimSpace(name), placeholders); nearest != "" {
		return " (did you mean {" + nearest + "}?)"
	}
	return ""
}

func knownPlaceholders() string {
	return fmt.Sprintf("known placeholders: {%s}", strings.Join(placeholders, "}, {"))
}
