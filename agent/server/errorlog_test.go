package server

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// TestErrorLogIsRateLimited: the log gets one line a second at most, with the number of those left out.
func TestErrorLogIsRateLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.WarnLevel)
		errors := newErrorLog(zap.New(core))
		for i := range 250 {
			errors.Printf("accept %d", i)
			<-time.After(10 * time.Millisecond)
		}
		var got []string
		for _, entry := range logs.All() {
			got = append(got, fmt.Sprint(entry.Message, entry.ContextMap()))
		}
		want := []string{"accept 0map[]", "accept 100map[left_out:99]", "accept 200map[left_out:99]"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("log (-want +got):\n%s", diff)
		}
	})
}
