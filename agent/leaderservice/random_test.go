package leaderservice

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
)

// TestLateWriters lets replicas lead one after the other, with requests that the API server executes after the end of the term, with processes
// that stop, and with processes that stall and detect the end of their term late. Once a leader has written the slice, no write of an earlier
// term must succeed, and in the end the slice must have the last leader.
func TestLateWriters(t *testing.T) {
	seed := rand.Uint64()
	if text := os.Getenv("SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("seed %d", seed)
	rounds := 2000
	if testing.Short() {
		rounds = 120
	}
	for i := range rounds {
		synctest.Test(t, func(t *testing.T) { lateWriters(t, rand.New(rand.NewPCG(seed, uint64(i)))) })
		if t.Failed() {
			t.Fatalf("in round %d", i)
		}
	}
}

func lateWriters(t *testing.T, random *rand.Rand) {
	const replicas = 3
	s := newStore(slice4, slice6)
	slowness := time.Duration(1 + random.IntN(3000))
	// The delays come from a list, because goroutines must not share the source.
	delays := make([]time.Duration, 4096)
	for i := range delays {
		if random.IntN(3) > 0 {
			delays[i] = time.Duration(random.Int64N(int64(slowness * time.Millisecond)))
		}
	}
	var next, leader atomic.Int64 // leader is 0 while no gate is open
	lasts := map[string]int{}     // the last term of each address
	latest := 0                   // the latest term whose leader the slice has named
	s.stored = func(slice *discoveryv1.EndpointSlice) {
		if len(slice.Endpoints) == 0 {
			return
		}
		address := slice.Endpoints[0].Addresses[0]
		if lasts[address] < latest {
			t.Errorf("%s of term %d is written after term %d", address, lasts[address], latest)
		}
		latest = max(latest, lasts[address])
	}
	all := make([]*replica, replicas)
	begin := func(i int) {
		c := connection{store: s, delay: func() { <-time.After(delays[int(next.Add(1))%len(delays)]) }}
		all[i] = start(t.Context(), c, fmt.Sprint("process ", i, " of ", time.Now()), fmt.Sprint("10.0.0.", i+1))
		all[i].options.Permitted = func(context.Context) error {
			if leader.Load() != int64(i+1) {
				return errors.New("not the leader")
			}
			return nil
		}
	}
	for i := range all {
		begin(i)
	}
	ends := make([]context.CancelFunc, replicas)
	for term := 1; term <= 12; term++ {
		i := random.IntN(replicas)
		if ends[i] != nil {
			ends[i]()
		}
		s.mu.Lock()
		lasts[fmt.Sprint("10.0.0.", i+1)] = term
		s.mu.Unlock()
		leader.Store(int64(i + 1))
		var ctx context.Context
		ctx, ends[i] = context.WithCancel(t.Context())
		all[i].Lead(ctx)
		if term == 12 {
			<-time.After(time.Minute)
			synctest.Wait()
			if want, got := []string{fmt.Sprint("10.0.0.", i+1)}, s.addresses(t, slice4); !slices.Equal(got, want) {
				t.Errorf("the slice has %v, want %v", got, want)
			}
			break
		}
		<-time.After(time.Duration(random.Int64N(int64(5 * time.Second))))
		leader.Store(0)
		if random.IntN(2) == 0 {
			ends[i]()
		} else {
			stalled := time.AfterFunc(time.Duration(random.Int64N(int64(5*time.Second))), ends[i])
			defer stalled.Stop()
		}
		if random.IntN(3) == 0 { // the process ends, and another begins at the same address
			all[i].end()
			begin(i)
		}
	}
	for i, r := range all {
		r.end()
		if ends[i] != nil {
			ends[i]()
		}
	}
	<-time.After(time.Minute) // the requests end
}
