// Package browsertest drives Chromium in tests: it opens pages, runs scripts in them, presses keys and takes pictures. It uses the DevTools
// protocol over a pipe, so it needs no port and no library. Only tests may import it.
package browsertest

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// limit is how long a test waits for a condition of a page. On a busy machine with two cores, a browser takes ten seconds to start.
const limit = time.Minute

// A Browser is a running Chromium.
type Browser struct {
	to io.Writer

	mu      sync.Mutex
	last    int
	answers map[int]chan answer
	tabs    map[string]*Tab
	ended   error
}

type answer struct {
	Result json.RawMessage
	Error  *struct{ Message string }
}

type message struct {
	ID        int             `json:"id"`
	Method    string          `json:"method"`
	Params    json.RawMessage `json:"params"`
	SessionID string          `json:"sessionId"`
	answer
}

// Start starts the Chromium that Find finds, and stops it when the test ends.
func Start(t testing.TB) *Browser {
	t.Helper()
	program := Find(t)
	commands, fromUs, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	toUs, events, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
		"--remote-debugging-pipe", "--user-data-dir="+filepath.Join(t.TempDir(), "profile"), "about:blank")
	command.ExtraFiles = []*os.File{commands, events} // its descriptors 3 and 4
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	_ = commands.Close()
	_ = events.Close()
	b := &Browser{to: fromUs, answers: make(map[int]chan answer), tabs: make(map[string]*Tab)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.read(toUs)
	}()
	t.Cleanup(func() {
		// Its helpers write to the profile until it has ended: ask first.
		_, _ = b.call("", "Browser.close", nil)
		_ = fromUs.Close()
		timer := time.AfterFunc(10*time.Second, func() { _ = command.Process.Kill() })
		_ = command.Wait()
		timer.Stop()
		_ = toUs.Close()
		<-done
	})
	return b
}

// Find returns the path of Chromium. It skips the test if Chromium is not installed, except in CI, where it must be.
func Find(t testing.TB) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("no Chromium on this machine; .ci/run installs Debian's package chromium")
	}
	t.Skip("no Chromium on this machine; install Debian's package chromium")
	return ""
}

// read takes messages until the browser ends. A zero byte ends each message.
func (b *Browser) read(from io.Reader) {
	messages := bufio.NewReader(from)
	for {
		text, err := messages.ReadBytes(0)
		b.mu.Lock()
		if err != nil {
			b.ended = fmt.Errorf("the browser ended: %w", err)
			for _, waiting := range b.answers {
				close(waiting)
			}
			b.answers = nil
			b.mu.Unlock()
			return
		}
		var m message
		if err := json.Unmarshal(text[:len(text)-1], &m); err == nil {
			if waiting := b.answers[m.ID]; waiting != nil {
				waiting <- m.answer
				delete(b.answers, m.ID)
			} else if tab := b.tabs[m.SessionID]; tab != nil {
				tab.event(&m)
			}
		}
		b.mu.Unlock()
	}
}

// call sends a command and waits for its answer.
func (b *Browser) call(session, method string, params any) (json.RawMessage, error) {
	b.mu.Lock()
	if b.ended != nil {
		defer b.mu.Unlock()
		return nil, b.ended
	}
	b.last++
	request := map[string]any{"id": b.last, "method": method}
	if session != "" {
		request["sessionId"] = session
	}
	if params != nil {
		request["params"] = params
	}
	waiting := make(chan answer, 1)
	b.answers[b.last] = waiting
	b.mu.Unlock()
	text, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	if _, err := b.to.Write(append(text, 0)); err != nil {
		return nil, err
	}
	select {
	case a, ok := <-waiting:
		switch {
		case !ok:
			return nil, fmt.Errorf("%s: the browser ended", method)
		case a.Error != nil:
			return nil, fmt.Errorf("%s: %s", method, a.Error.Message)
		}
		return a.Result, nil
	case <-time.After(limit):
		return nil, fmt.Errorf("%s: no answer in %v", method, limit)
	}
}

// A Tab is a page of the browser.
type Tab struct {
	browser *Browser
	session string

	// The browser's mu protects these.
	loaded chan struct{}
	errors []string
}

// Tab opens an empty page.
func (b *Browser) Tab(t testing.TB) *Tab {
	t.Helper()
	var target struct{ TargetID string }
	decode(t, b.must(t, "", "Target.createTarget", map[string]any{"url": "about:blank"}), &target)
	var attached struct{ SessionID string }
	decode(t, b.must(t, "", "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}), &attached)
	tab := &Tab{browser: b, session: attached.SessionID}
	b.mu.Lock()
	b.tabs[tab.session] = tab
	b.mu.Unlock()
	for _, domain := range []string{"Page.enable", "Runtime.enable", "Log.enable", "Network.enable"} {
		tab.call(t, domain, nil)
	}
	return tab
}

func (b *Browser) must(t testing.TB, session, method string, params any) json.RawMessage {
	t.Helper()
	result, err := b.call(session, method, params)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func (tab *Tab) call(t testing.TB, method string, params any) json.RawMessage {
	t.Helper()
	return tab.browser.must(t, tab.session, method, params)
}

func decode(t testing.TB, text json.RawMessage, into any) {
	t.Helper()
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
}

// event is called under the browser's mu.
func (tab *Tab) event(m *message) {
	switch m.Method {
	case "Page.loadEventFired":
		if tab.loaded != nil {
			close(tab.loaded)
			tab.loaded = nil
		}
	case "Runtime.exceptionThrown":
		tab.errors = append(tab.errors, "exception: "+string(m.Params))
	case "Log.entryAdded":
		var log struct {
			Entry struct{ Level, Source, Text, URL string }
		}
		if json.Unmarshal(m.Params, &log) == nil && log.Entry.Level == "error" {
			tab.errors = append(tab.errors, log.Entry.Source+": "+log.Entry.Text+" "+log.Entry.URL)
		}
	}
}

// Errors returns the errors of scripts and of the Content-Security-Policy since the last call.
func (tab *Tab) Errors() []string {
	tab.browser.mu.Lock()
	defer tab.browser.mu.Unlock()
	errors := tab.errors
	tab.errors = nil
	return errors
}

// Screen sets the size of the page and the preferred color scheme.
func (tab *Tab) Screen(t testing.TB, width, height int, dark bool) {
	t.Helper()
	tab.call(t, "Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false})
	scheme := map[bool]string{true: "dark", false: "light"}[dark]
	tab.call(t, "Emulation.setEmulatedMedia", map[string]any{"features": []any{map[string]string{"name": "prefers-color-scheme", "value": scheme}}})
}

// Scripts enables or disables the scripts of the page.
func (tab *Tab) Scripts(t testing.TB, on bool) {
	t.Helper()
	tab.call(t, "Emulation.setScriptExecutionDisabled", map[string]any{"value": !on})
}

// Go opens an address and waits until the page is loaded.
func (tab *Tab) Go(t testing.TB, url string) {
	t.Helper()
	loaded := make(chan struct{})
	tab.browser.mu.Lock()
	tab.loaded = loaded
	tab.browser.mu.Unlock()
	tab.call(t, "Page.navigate", map[string]any{"url": url})
	select {
	case <-loaded:
	case <-time.After(limit):
		t.Fatalf("%s did not load in %v", url, limit)
	}
}

// Eval runs an expression in the page, waits for it if it is a promise, and decodes its value; into may be nil.
func (tab *Tab) Eval(t testing.TB, expression string, into any) {
	t.Helper()
	value, err := tab.evaluate(expression)
	if err != nil {
		t.Fatal(err)
	}
	if into != nil {
		decode(t, value, into)
	}
}

func (tab *Tab) evaluate(expression string) (json.RawMessage, error) {
	text, err := tab.browser.call(tab.session, "Runtime.evaluate", map[string]any{
		"expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true,
	})
	if err != nil {
		return nil, err
	}
	var result struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	if err := json.Unmarshal(text, &result); err != nil {
		return nil, err
	}
	if e := result.ExceptionDetails; e != nil {
		return nil, fmt.Errorf("%s %s\n%.300s", e.Text, e.Exception.Description, expression)
	}
	return result.Result.Value, nil
}

// Wait waits until an expression of the page is true. The page may open another one meanwhile.
func (tab *Tab) Wait(t testing.TB, condition string) {
	t.Helper()
	deadline := time.Now().Add(limit / 2)
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		value, err := tab.evaluate("Boolean(" + condition + ")")
		if err == nil && string(value) == "true" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("this did not become true in %v: %s (%v)", limit/2, condition, err)
		}
		<-poll.C
	}
}

// Press presses a key, such as "Tab" or "Enter", or types a letter.
func (tab *Tab) Press(t testing.TB, key string) {
	t.Helper()
	press := map[string]any{"type": "keyDown", "key": key, "code": key}
	switch {
	case key == "Tab":
		press["windowsVirtualKeyCode"] = 9
	case key == "Enter":
		press["windowsVirtualKeyCode"], press["text"] = 13, "\r"
	case key == " ":
		press["windowsVirtualKeyCode"], press["text"], press["code"] = 32, " ", "Space"
	case len(key) == 1:
		press["text"], press["windowsVirtualKeyCode"] = key, int(strings.ToUpper(key)[0])
	}
	tab.call(t, "Input.dispatchKeyEvent", press)
	press["type"] = "keyUp"
	delete(press, "text")
	tab.call(t, "Input.dispatchKeyEvent", press)
}

// Picture returns a PNG of the screen, or of the whole page.
func (tab *Tab) Picture(t testing.TB, whole bool) []byte {
	t.Helper()
	var picture struct{ Data string }
	decode(t, tab.call(t, "Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": whole}), &picture)
	png, err := base64.StdEncoding.DecodeString(picture.Data)
	if err != nil {
		t.Fatal(err)
	}
	return png
}
