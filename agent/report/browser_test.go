package report

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/kube-devops/kube-devops/agent/page/browsertest"
)

// A frame is a page that the browser opens, as wide as a screen may be. Code runs when it is loaded: doc is the document of
// the page, and write takes a line.
type frame struct {
	Page  string
	Width int
	Code  string
}

// A view is what became of a frame: its document after all scripts, and the lines that the code wrote.
type view struct {
	document *html.Node
	wrote    string
}

// shared are the views of all frames. The start of a browser takes most of the time, so one opens all pages.
var shared struct {
	once  sync.Once
	views map[string]view
}

// viewOf is the view of one of frames.
func viewOf(t *testing.T, name string) view {
	t.Helper()
	if testing.Short() {
		t.Skip("a short run starts no browser")
	}
	program := browsertest.Find(t)
	shared.once.Do(func() { shared.views = open(t, program, frames(t)) })
	v, ok := shared.views[name]
	if !ok {
		t.Fatalf("the browser did not open the frame %q", name)
	}
	return v
}

// open shows all frames in one page of a browser. Their documents and lines become texts of that page, which the browser
// prints when all are loaded.
func open(t *testing.T, program string, frames map[string]frame) map[string]view {
	t.Helper()
	var page bytes.Buffer
	page.WriteString("<!DOCTYPE html><body><script>\n")
	page.WriteString(`
function open(name, frame) {
  const element = document.createElement("iframe");
  element.width = frame.Width;
  element.height = 800;
  element.srcdoc = frame.Page;
  element.addEventListener("load", () => {
    const text = (kind) => {
      const pre = document.createElement("pre");
      pre.id = kind + " " + name;
      document.body.append(pre);
      return pre;
    };
    const wrote = text("wrote");
    new Function("doc", "write", frame.Code)(element.contentDocument, (line) => wrote.append(line + "\n"));
    text("document").append(element.contentDocument.documentElement.outerHTML);
  });
  document.body.append(element);
}
`)
	for name, f := range frames {
		fmt.Fprintf(&page, "open(%s, {Page: %s, Width: %d, Code: %s});\n", scriptText(name), scriptText(f.Page), f.Width, scriptText(f.Code))
	}
	page.WriteString("</script>")
	folder := t.TempDir()
	file := filepath.Join(folder, "page.html")
	if err := os.WriteFile(file, page.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--user-data-dir="+filepath.Join(folder, "profile"), "--dump-dom", "file://"+file)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	command.WaitDelay = time.Minute // its children may hold the pipe
	if err := command.Run(); err != nil {
		t.Fatalf("%v: %v\n%s", command.Args, err, stderr.String())
	}
	opened, err := html.Parse(&stdout)
	if err != nil {
		t.Fatal(err)
	}
	views := make(map[string]view)
	for name := range frames {
		document, err := html.Parse(strings.NewReader(textOf(byID(t, opened, "document "+name))))
		if err != nil {
			t.Fatal(err)
		}
		views[name] = view{document, textOf(byID(t, opened, "wrote "+name))}
	}
	return views
}

// scriptText is a text as a literal that does not end the script it is in.
func scriptText(text string) string { return strings.ReplaceAll(quoted(text), "</", `<\/`) }

// all are the nodes below one for which the condition holds, in the order of the document.
func all(n *html.Node, holds func(*html.Node) bool) []*html.Node {
	var found []*html.Node
	for d := range n.Descendants() {
		if holds(d) {
			found = append(found, d)
		}
	}
	return found
}

func elements(n *html.Node, name string) []*html.Node {
	return all(n, func(d *html.Node) bool { return d.Type == html.ElementNode && d.Data == name })
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func byID(t *testing.T, document *html.Node, id string) *html.Node {
	t.Helper()
	found := all(document, func(n *html.Node) bool { return attribute(n, "id") == id })
	if len(found) != 1 {
		t.Fatalf("%d elements have the id %s", len(found), id)
	}
	return found[0]
}

func textOf(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return strings.TrimSpace(b.String())
}

// cells are the texts of a table's body, row by row, and the exact values behind them.
func cells(table *html.Node) (texts, values [][]string) {
	for _, row := range elements(table, "tr") {
		var text, value []string
		for _, cell := range elements(row, "td") {
			text = append(text, textOf(cell))
			value = append(value, attribute(cell, "data-value"))
		}
		if len(text) > 0 { // not a head
			texts, values = append(texts, text), append(values, value)
		}
	}
	return texts, values
}
