package leaderservice

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

const slice4, slice6 = "leader-ipv4", "leader-ipv6"

// A replica is a running Service with its log.
type replica struct {
	*Service
	logs *observer.ObservedLogs
	stop context.CancelFunc
	done chan struct{}
}

func start(ctx context.Context, c client, identity string, ips ...string) *replica {
	core, logs := observer.New(zap.InfoLevel)
	parsed, err := ParseIPs(ips)
	if err != nil {
		panic(err)
	}
	r := &replica{logs: logs, done: make(chan struct{})}
	r.Service = newWithClient(c, Options{
		Namespace: "ns", Name: "leader", IPs: parsed, Port: 8080, Identity: identity, Log: zap.New(core),
		Permitted: func(context.Context) error { return nil },
	})
	ctx, r.stop = context.WithCancel(ctx)
	go func() { defer close(r.done); _ = r.Run(ctx) }()
	return r
}

func (r *replica) end() { r.stop(); <-r.done }

// TestFills checks that a term fills both slices at once, keeps the fields that others have set, and then only reads.
func TestFills(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(slice4, slice6)
		r := start(t.Context(), connection{store: s}, "a", "10.0.0.1", "fd00::0:1")
		defer r.end()
		r.Lead(t.Context())
		synctest.Wait() // no time passes
		for name, address := range map[string]string{slice4: "10.0.0.1", slice6: "fd00::1"} {
			got, err := s.get(name)
			if err != nil {
				t.Fatal(err)
			}
			want := &discoveryv1.EndpointSlice{
				ObjectMeta: got.ObjectMeta,
				Endpoints: []discoveryv1.Endpoint{{Addresses: []string{address}, Conditions: discoveryv1.EndpointConditions{
					Ready: new(true), Serving: new(true), Terminating: new(false),
				}}},
				Ports:       []discoveryv1.EndpointPort{{Name: new("http"), Port: new(int32(8080)), Protocol: new(corev1.ProtocolTCP)}},
				AddressType: map[string]discoveryv1.AddressType{slice4: discoveryv1.AddressTypeIPv4, slice6: discoveryv1.AddressTypeIPv6}[name],
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
			if got.Labels[discoveryv1.LabelServiceName] != "leader" || got.Annotations[Annotation] != "a" {
				t.Errorf("%s has labels %v and annotations %v", name, got.Labels, got.Annotations)
			}
		}
		<-time.After(time.Minute)
		if n := s.updated(); n != 2 {
			t.Errorf("%d updates in a quiet minute, want 2", n)
		}
		if n := r.logs.Len(); n != 2 {
			t.Errorf("%d lines, want one for each slice: %v", n, r.logs.All())
		}
	})
}

// TestOneFamily checks that an old address is removed from the slice of a family that the pod does not have, and that this slice need not exist.
func TestOneFamily(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(slice4, slice6)
		s.change(slice6, func(slice *discoveryv1.EndpointSlice) {
			slice.Endpoints = []discoveryv1.Endpoint{{Addresses: []string{"fd00::9"}}}
		})
		r := start(t.Context(), connection{store: s}, "a", "10.0.0.1")
		defer r.end()
		r.Lead(t.Context())
		synctest.Wait()
		if got := s.addresses(t, slice6); got != nil {
			t.Errorf("the slice of the other family has %v", got)
		}
		s.remove(slice6)
		<-time.After(time.Minute)
		if warned := r.logs.FilterLevelExact(zap.WarnLevel); warned.Len() > 0 {
			t.Errorf("without the slice of the other family it warns: %v", warned.All())
		}
	})
}

// TestRepairs checks that changes of another client, such as the chart's manifest, are repaired within two seconds.
func TestRepairs(t *testing.T) {
	for name, change := range map[string]func(*discoveryv1.EndpointSlice){
		"emptied":       func(slice *discoveryv1.EndpointSlice) { slice.Endpoints = nil },
		"ports":         func(slice *discoveryv1.EndpointSlice) { slice.Ports = nil },
		"no address":    func(slice *discoveryv1.EndpointSlice) { slice.Endpoints[0].Addresses = []string{"10.9.9.9"} },
		"not ready":     func(slice *discoveryv1.EndpointSlice) { slice.Endpoints[0].Conditions.Ready = new(false) },
		"no author":     func(slice *discoveryv1.EndpointSlice) { slice.Annotations = nil },
		"no label":      func(slice *discoveryv1.EndpointSlice) { delete(slice.Labels, discoveryv1.LabelServiceName) },
		"no labels":     func(slice *discoveryv1.EndpointSlice) { slice.Labels = map[string]string{"team": "core"} },
		"other Service": func(slice *discoveryv1.EndpointSlice) { slice.Labels[discoveryv1.LabelServiceName] = "other" },
		"other manager": func(slice *discoveryv1.EndpointSlice) {
			slice.Labels[discoveryv1.LabelManagedBy] = "endpointslice-controller.k8s.io"
		},
		"a second one": func(slice *discoveryv1.EndpointSlice) { slice.Endpoints = append(slice.Endpoints, slice.Endpoints[0]) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStore(slice4, slice6)
				r := start(t.Context(), connection{store: s}, "a", "10.0.0.1")
				defer r.end()
				r.Lead(t.Context())
				synctest.Wait()
				want, _ := s.get(slice4)
				s.change(slice4, change)
				<-time.After(checkPeriod)
				synctest.Wait()
				got, _ := s.get(slice4)
				want.ResourceVersion = got.ResourceVersion
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("not repaired (-want +got):\n%s", diff)
				}
				if found := r.logs.FilterMessageSnippet("another client").Len(); found != 1 {
					t.Errorf("%d lines about it, want 1: %v", found, r.logs.All())
				}
			})
		})
	}
}

// TestAddressType checks that a slice with another address type, which is immutable, is an error with a fix, and that the slice is not written.
func TestAddressType(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(slice4, slice6)
		s.change(slice4, func(slice *discoveryv1.EndpointSlice) { slice.AddressType = discoveryv1.AddressTypeFQDN })
		s.change(slice6, func(slice *discoveryv1.EndpointSlice) { slice.AddressType = discoveryv1.AddressTypeFQDN })
		r := start(t.Context(), connection{store: s}, "a", "10.0.0.1")
		defer r.end()
		r.Lead(t.Context())
		<-time.After(10 * time.Minute)
		want := "EndpointSlice leader-ipv4 has the addressType FQDN, not IPv4, which cannot be changed: delete it and let the chart create it again"
		if lines := r.logs.All(); len(lines) != 1 || lines[0].ContextMap()["error"] != want || s.updated() != 0 {
			t.Errorf("%d updates, the log is %v", s.updated(), lines)
		}
		s.mu.Lock()
		s.slices = newStore(slice4, slice6).slices
		s.mu.Unlock()
		<-time.After(checkPeriod)
		synctest.Wait()
		if got := s.addresses(t, slice4); !slices.Equal(got, []string{"10.0.0.1"}) {
			t.Errorf("created again, the slice has %v", got)
		}
	})
}

// TestLogOfFailures checks that the log has one line for a lasting failure, one line a minute for alternating failures, and one line for their
// end. Another term logs the same failure again.
func TestLogOfFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(slice4, slice6)
		var failing atomic.Value // a func() error
		fail := func(f func() error) { failing.Store(f) }
		fail(func() error { return nil })
		r := start(t.Context(), connection{store: s, fail: func() error { return failing.Load().(func() error)() }}, "a", "10.0.0.1")
		defer r.end()
		check := func(doing string, warnings, recoveries int) {
			t.Helper()
			synctest.Wait()
			lines := r.logs.TakeAll()
			warned, recovered := 0, 0
			for _, line := range lines {
				if line.Level == zap.WarnLevel {
					warned++
				}
				if strings.HasSuffix(line.Message, "can be kept up to date again") {
					recovered++
				}
			}
			if warned != warnings || recovered != recoveries {
				t.Errorf("%s: %d warnings and %d recoveries, want %d and %d: %v", doing, warned, recovered, warnings, recoveries, lines)
			}
		}
		term, end := context.WithCancel(t.Context())
		r.Lead(term)
		<-time.After(time.Minute)
		check("a success", 0, 0)
		fail(func() error { return errors.New("unavailable") })
		<-time.After(time.Hour)
		check("a failure", 1, 0)
		n := 0
		fail(func() error {
			n++
			return fmt.Errorf("failure %d", n)
		})
		<-time.After(10 * time.Minute)
		check("other failures", 10, 0)
		fail(func() error { return nil })
		<-time.After(time.Minute)
		check("a success again", 0, 1)
		fail(func() error { return errors.New("unavailable") })
		<-time.After(time.Minute)
		check("a new failure", 1, 0)
		end()
		synctest.Wait()
		r.Lead(t.Context())
		<-time.After(time.Minute)
		check("a new term", 1, 0)
	})
}

// TestMissing checks that a missing slice is one line in the log, and that the slice is filled within two seconds after it is created.
func TestMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		r := start(t.Context(), connection{store: s}, "a", "10.0.0.1")
		defer r.end()
		r.Lead(t.Context())
		<-time.After(10 * time.Minute)
		if lines := r.logs.All(); len(lines) != 1 || !strings.Contains(lines[0].ContextMap()["error"].(string), slice4) {
			t.Errorf("the log has %d lines, the first is %v; want one that names the slice", len(lines), lines[0])
		}
		s.mu.Lock()
		s.slices = newStore(slice4).slices
		s.mu.Unlock()
		<-time.After(checkPeriod)
		synctest.Wait()
		if got := s.addresses(t, slice4); !slices.Equal(got, []string{"10.0.0.1"}) {
			t.Errorf("the slice has %v", got)
		}
	})
}

// TestRetries checks that short failures of the API server delay the first write by less than a second.
func TestRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, failing := newStore(slice4, slice6), 4
		r := start(t.Context(), connection{store: s, fail: func() error {
			if failing--; failing >= 0 {
				return errors.New("unavailable")
			}
			return nil
		}}, "a", "10.0.0.1")
		defer r.end()
		r.Lead(t.Context())
		<-time.After(time.Second)
		if got := s.addresses(t, slice4); !slices.Equal(got, []string{"10.0.0.1"}) {
			t.Errorf("after a second the slice has %v", got)
		}
	})
}

// TestOldTerm checks that a replica does not write without permission, and does not read after the end of the term.
func TestOldTerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(slice4, slice6)
		r := start(t.Context(), connection{store: s}, "a", "10.0.0.1")
		defer r.end()
		r.options.Permitted = func(context.Context) error { return errors.New("the gate is closed") }
		term, end := context.WithCancel(t.Context())
		r.Lead(term)
		<-time.After(time.Minute)
		end()
		<-time.After(time.Minute)
		if n := s.updated(); n != 0 {
			t.Errorf("%d updates without permission", n)
		}
	})
}

// TestStop checks that a process that stops removes its own address, and never that of another process.
func TestStop(t *testing.T) {
	for _, test := range []struct {
		name string
		next string // who has written the slice after this replica
		want []string
	}{
		{"the last to write", "", nil},
		{"another leads", "b", []string{"10.0.0.2"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStore(slice4, slice6)
				r := start(t.Context(), connection{store: s}, "a", "10.0.0.1")
				term, end := context.WithCancel(t.Context())
				r.Lead(term)
				synctest.Wait()
				end()
				synctest.Wait()
				if got := s.addresses(t, slice4); !slices.Equal(got, []string{"10.0.0.1"}) {
					t.Errorf("a standby that goes on has left %v", got)
				}
				if test.next != "" {
					s.change(slice4, func(slice *discoveryv1.EndpointSlice) {
						slice.Annotations[Annotation], slice.Endpoints[0].Addresses = test.next, test.want
					})
				}
				r.end()
				if got := s.addresses(t, slice4); !slices.Equal(got, test.want) {
					t.Errorf("the slice has %v, want %v", got, test.want)
				}
			})
		})
	}
}

// TestNeverLed checks that a standby that stops sends no request.
func TestNeverLed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t.Context(), connection{store: newStore(), fail: func() error { t.Error("a request"); return nil }}, "a", "10.0.0.1")
		<-time.After(time.Minute)
		r.end()
	})
}

// TestStopHangs checks that an API server that does not respond delays the stop by at most a second.
func TestStopHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, hang := newStore(slice4, slice6), false
		r := start(t.Context(), connection{store: s, delay: func() {
			if hang {
				<-time.After(time.Hour)
			}
		}}, "a", "10.0.0.1")
		r.Lead(t.Context())
		synctest.Wait()
		hang = true
		begun := time.Now()
		r.end()
		if took := time.Since(begun); took > withdrawWithin {
			t.Errorf("it stopped after %s", took)
		}
		if r.logs.FilterMessageSnippet("still has the address").Len() != 1 {
			t.Errorf("the log has %v", r.logs.All())
		}
		<-time.After(3 * time.Hour) // the requests end
	})
}

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"kube-devops/kube-devops-leader": "", "leader": "NAMESPACE/NAME", "a/b/c": "NAMESPACE/NAME", "/b": "NAMESPACE/NAME", "a/": "NAMESPACE/NAME",
	} {
		if _, _, err := ParseName(text); !says(err, want) {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
	}
	for texts, want := range map[string]string{
		"10.0.0.1": "", "10.0.0.1,fd00::1": "", "::ffff:10.0.0.1": "", "": "is not an IP address", "$(POD_IPS)": "is not an IP address",
		"fe80::1%eth0": "is not an IP address", "127.0.0.1": "cannot connect", "::": "cannot connect", "169.254.1.1": "cannot connect",
		"10.0.0.1,10.0.0.2": "same address family",
	} {
		ips, err := ParseIPs(strings.Split(texts, ","))
		if !says(err, want) {
			t.Errorf("%q: error %v, want %q", texts, err, want)
		}
		if err == nil && ips[0] != netip.MustParseAddr("10.0.0.1") {
			t.Errorf("%q is %v", texts, ips)
		}
	}
	if _, err := ParseIPs(nil); !says(err, "needs the addresses") {
		t.Errorf("no address: error %v", err)
	}
	if port, err := PortOf("[::]:8080"); port != 8080 || err != nil {
		t.Errorf("port %d, error %v", port, err)
	}
}

func says(err error, want string) bool {
	if want == "" {
		return err == nil
	}
	return err != nil && strings.Contains(err.Error(), want)
}
