package election

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestOptionsValidate(t *testing.T) {
	tests := []struct {
		name   string
		change func(o *Options)
		want   []string
	}{
		{"defaults", func(*Options) {}, nil},
		{"short lease of the quick profile", func(o *Options) {
			o.LeaseDuration, o.RenewDeadline, o.RetryPeriod = 6*time.Second, 4*time.Second, time.Second
		}, nil},
		{"shortest lease", func(o *Options) {
			o.LeaseDuration, o.RenewDeadline, o.RetryPeriod = 2*time.Second, time.Second, 500*time.Millisecond
		}, nil},
		{"empty names", func(o *Options) { o.Namespace, o.Name, o.Identity = "", "", "" }, []string{
			"--lease-namespace: must not be empty",
			"--lease-name: must not be empty",
			"identity: must not be empty",
		}},
		{"fraction of a second", func(o *Options) { o.LeaseDuration = 15500 * time.Millisecond }, []string{
			"--lease-duration 15.5s: must be whole seconds, at least 1s, because a Lease stores whole seconds",
		}},
		{"client-go gives up after the lease", func(o *Options) { o.RenewDeadline = 13 * time.Second }, []string{
			"--lease-duration 15s: must be greater than --retry-period 2s + --renew-deadline 13s",
		}},
		{"deadline without a second try", func(o *Options) { o.RenewDeadline = 2400 * time.Millisecond }, []string{
			"--renew-deadline 2.4s: must be greater than 1.2 times --retry-period 2s",
		}},
		{"all zero", func(o *Options) { o.LeaseDuration, o.RenewDeadline, o.RetryPeriod = 0, 0, 0 }, []string{
			"--lease-duration 0s: must be whole seconds, at least 1s, because a Lease stores whole seconds",
			"--retry-period 0s: must be greater than 0s",
			"--renew-deadline 0s: must be greater than 1.2 times --retry-period 0s",
			"--lease-duration 0s: must be greater than --retry-period 0s + --renew-deadline 0s",
			"--lease-duration 0s: must be greater than margin 0s + --retry-period 0s + the 1s that one request may take",
		}},
		{"negative margin", func(o *Options) { o.Margin = -1 }, []string{"margin -1ns: must not be negative"}},
		{"margin that leaves no time for a slow renewal", func(o *Options) { o.Margin = 10 * time.Second }, []string{
			"--lease-duration 15s: must be greater than margin 10s + --retry-period 2s + the 3s that one request may take",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := DefaultOptions()
			o.Identity = "a"
			tt.change(&o)
			var got []string
			if err := o.Validate(); err != nil {
				got = strings.Split(err.Error(), "\n")
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Validate (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOptionsDerived(t *testing.T) {
	tests := []struct {
		lease, deadline, margin time.Duration
		wantMargin, wantTimeout time.Duration
	}{
		{15 * time.Second, 10 * time.Second, 0, 2 * time.Second, 3 * time.Second},
		{60 * time.Second, 40 * time.Second, 0, 2 * time.Second, 3 * time.Second},
		{6 * time.Second, 4 * time.Second, 0, time.Second, 2 * time.Second},
		{3 * time.Second, 1500 * time.Millisecond, 0, 500 * time.Millisecond, time.Second},
		{15 * time.Second, 10 * time.Second, 4 * time.Second, 4 * time.Second, 3 * time.Second},
	}
	for _, tt := range tests {
		o := Options{LeaseDuration: tt.lease, RenewDeadline: tt.deadline, Margin: tt.margin}
		if o.margin() != tt.wantMargin || o.callTimeout() != tt.wantTimeout {
			t.Errorf("%s/%s/%s: margin %s, call timeout %s, want %s, %s", tt.lease, tt.deadline, tt.margin,
				o.margin(), o.callTimeout(), tt.wantMargin, tt.wantTimeout)
		}
	}
}

func TestNewIdentity(t *testing.T) {
	a, b := NewIdentity("pod-1"), NewIdentity("pod-1")
	if a == b {
		t.Errorf("two processes of one host are both %s", a)
	}
	if !regexp.MustCompile(`^pod-1_[a-z2-7]{26}$`).MatchString(a) {
		t.Errorf("identity %q", a)
	}
}
