package page

import (
	"bytes"
	"testing"
)

func rendered(t testing.TB, view View) string {
	t.Helper()
	var page bytes.Buffer
	if err := Render(&page, view); err != nil {
		t.Fatal(err)
	}
	return page.String()
}

func TestRender(t *testing.T) {
	for name, view := range examples() {
		t.Run(name, func(t *testing.T) { rendered(t, view) })
	}
}
