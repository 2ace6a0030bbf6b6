package e2e_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kube-devops/kube-devops/agent/e2e/blackbox"
)

// pageTimeout limits the time from the end of kubectl until an open page shows the violation. The page refreshes every one and a half seconds.
const pageTimeout = 2 * time.Second

// TestPageFollowsCluster opens the status page in Chromium, and opens and resolves violations with kubectl. The page must show each change within
// two seconds, without a reload. A standby must have no data until it becomes the leader.
func TestPageFollowsCluster(t *testing.T) {
	ctx := t.Context()
	namespace := newNamespace(t, "e2e-page")
	args := liveArgs(append([]string{"--external-url=https://governance.example.com"}, quickLease...)...)
	leader := startAgent(t, "leader", args...)
	waitScores(t, "the agent leads", leader, leadTimeout, []string{namespace}, listed(t))
	standby := startAgent(t, "standby", args...)
	waitReady(t, standby, leadTimeout)
	hasNoData(t, standby, namespace)

	overview, changes := openPage(t, leader, "/"), openPage(t, leader, "/changes")
	var slowest time.Duration
	for i := range 5 {
		name := fmt.Sprintf("bad-%d", i)
		if _, err := env.Kubectl(ctx, nil, "run", name, "-n", namespace, "--image=nginx:latest", "--restart=Never"); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		overview.await(t, rowOf(namespace, "Violations", fmt.Sprint(3*(i+1))))
		changes.await(t, fmt.Sprintf(`[...document.querySelectorAll("#changes tr")].some((row) => /opened/.test(row.textContent) && row.textContent.includes("latest_tag") && row.textContent.includes(%q))`, name))
		slowest = max(slowest, time.Since(began))
	}
	t.Logf("from kubectl to an open page: at most %s of 5", round(slowest))
	if slowest > pageTimeout {
		t.Errorf("a violation was on the page after %s, want at most %s", round(slowest), pageTimeout)
	}
	equalsReport(t, overview, leader)
	findings := openPage(t, leader, "/namespaces/"+namespace)
	findings.await(t, `document.body.textContent.includes("nginx:latest")`)
	if _, err := env.Kubectl(ctx, nil, "delete", "pod", "bad-0", "-n", namespace, "--now"); err != nil {
		t.Fatal(err)
	}
	overview.await(t, rowOf(namespace, "Violations", "12"))
	hasNoData(t, standby, namespace)

	// A new term has no history of the previous term.
	stopAgent(t, leader, syscall.SIGTERM, 0)
	waitFor(t, "the standby takes over", leadTimeout, func() error {
		status, body, err := standby.Get("/changes")
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("status %d", status)
		}
		if err == nil && strings.Contains(body, "bad-0") {
			t.Fatalf("the new leader lists changes of the earlier one:\n%s", body)
		}
		return err
	})
}

// rowOf returns the condition that a cell of a namespace has a value.
func rowOf(namespace, label, value string) string {
	return fmt.Sprintf(`document.querySelector('#namespaces tr[data-key=%q] td[data-label=%q]')?.dataset.value === %q`, namespace, label, value)
}

// hasNoData checks that a standby responds to each page only with the name of the leader.
func hasNoData(t *testing.T, standby *blackbox.Agent, namespace string) {
	t.Helper()
	for _, path := range []string{"/", "/namespaces/" + namespace, "/waivers", "/policy", "/changes"} {
		waitFor(t, standby.Name()+" names the leader on "+path, seeTimeout, func() error {
			status, body, err := standby.Get(path)
			if err != nil {
				return err
			}
			for _, data := range []string{"latest_tag", "data-value", "Compliance"} {
				if strings.Contains(body, data) {
					t.Fatalf("%s of a standby has data:\n%s", path, body)
				}
			}
			if holder := leaseHolder(t); status != http.StatusServiceUnavailable || holder == "" || !strings.Contains(body, holder) {
				return fmt.Errorf("%d, and not %q leads: %s", status, holder, body)
			}
			if link := "https://governance.example.com" + path; !strings.Contains(body, link) {
				return fmt.Errorf("no link to %s: %s", link, body)
			}
			return nil
		})
	}
}

// equalsReport compares the numbers in the document of an open overview with the report.
func equalsReport(t *testing.T, overview *tab, agent *blackbox.Agent) {
	t.Helper()
	waitFor(t, "the page equals the report", seeTimeout, func() error {
		_, body, err := agent.Get("/api/v1/report")
		if err != nil {
			return err
		}
		var report struct {
			Namespaces []struct {
				Namespace  string
				Pods       int
				Compliance float64
				Violations map[string]int
			}
		}
		if err := json.Unmarshal([]byte(body), &report); err != nil {
			return err
		}
		var want []string
		for _, ns := range report.Namespaces {
			violations := 0
			for _, n := range ns.Violations {
				violations += n
			}
			want = append(want, fmt.Sprintf("%s %d %v %d", ns.Namespace, ns.Pods, ns.Compliance, violations))
		}
		var got []string
		err = overview.eval(t, `[...document.querySelectorAll("#namespaces tr[data-key]")].map((row) => {
			const value = (label) => row.querySelector('td[data-label="' + label + '"]').dataset.value;
			return row.dataset.key + " " + value("Pods") + " " + value("Compliance") + " " + value("Violations");
		}).sort()`, &got)
		if err != nil {
			return err
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			return fmt.Errorf("the page has %v, the report %v", got, want)
		}
		return nil
	})
}

// A tab is a page that is open in Chromium. It is driven over a pipe, by the DevTools protocol.
type tab struct {
	to      io.Writer
	from    *bufio.Reader
	session string
	last    int
}

// openPage opens a page of an agent in a new browser, and waits until it is loaded.
func openPage(t *testing.T, agent *blackbox.Agent, path string) *tab {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("no chromium on this machine")
	}
	commands, toBrowser, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	fromBrowser, answers, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	browser := exec.Command(program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe",
		"--user-data-dir="+filepath.Join(t.TempDir(), "profile"), "about:blank")
	browser.ExtraFiles = []*os.File{commands, answers} // its descriptors 3 and 4
	if err := browser.Start(); err != nil {
		t.Fatal(err)
	}
	commands.Close()
	answers.Close()
	tab := &tab{to: toBrowser, from: bufio.NewReader(fromBrowser)}
	t.Cleanup(func() {
		tab.session = ""
		_, _ = tab.call("Browser.close", nil)
		toBrowser.Close()
		_ = browser.Wait()
		fromBrowser.Close()
	})
	var target struct{ TargetID string }
	tab.must(t, "Target.createTarget", map[string]any{"url": "http://" + agent.Addr + path}, &target)
	var attached struct{ SessionID string }
	tab.must(t, "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	tab.session = attached.SessionID
	waitFor(t, path+" is open", leadTimeout, func() error {
		if loaded := false; tab.eval(t, `document.readyState === "complete" && document.getElementById("main") !== null`, &loaded) != nil || !loaded {
			return errors.New("it is not loaded")
		}
		return nil
	})
	return tab
}

// call sends a command, and reads messages until its response. It ignores events.
func (tab *tab) call(method string, params any) (json.RawMessage, error) {
	tab.last++
	request := map[string]any{"id": tab.last, "method": method}
	if tab.session != "" {
		request["sessionId"] = tab.session
	}
	if params != nil {
		request["params"] = params
	}
	text, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	if _, err := tab.to.Write(append(text, 0)); err != nil {
		return nil, err
	}
	for {
		text, err := tab.from.ReadBytes(0)
		if err != nil {
			return nil, err
		}
		var answer struct {
			ID     int
			Result json.RawMessage
			Error  *struct{ Message string }
		}
		if err := json.Unmarshal(text[:len(text)-1], &answer); err != nil {
			return nil, err
		}
		switch {
		case answer.ID != tab.last:
		case answer.Error != nil:
			return nil, fmt.Errorf("%s: %s", method, answer.Error.Message)
		default:
			return answer.Result, nil
		}
	}
}

func (tab *tab) must(t *testing.T, method string, params, into any) {
	t.Helper()
	result, err := tab.call(method, params)
	if err == nil {
		err = json.Unmarshal(result, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// eval decodes the value of an expression in the page.
func (tab *tab) eval(t *testing.T, expression string, into any) error {
	t.Helper()
	var result struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct{ Text string }
	}
	tab.must(t, "Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true}, &result)
	if result.ExceptionDetails != nil {
		return errors.New(result.ExceptionDetails.Text)
	}
	return json.Unmarshal(result.Result.Value, into)
}

// await waits until a condition of the page is true. Only the script of the page changes the page meanwhile.
func (tab *tab) await(t *testing.T, condition string) {
	t.Helper()
	waitFor(t, "the page shows: "+condition, 2*seeTimeout, func() error {
		holds := false
		if err := tab.eval(t, condition, &holds); err != nil || !holds {
			var text string
			_ = tab.eval(t, `document.getElementById("main").innerText.slice(0, 1000)`, &text)
			return errors.Join(err, errors.New("it has:\n"+text))
		}
		return nil
	})
}
