package election

import (
	"flag"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"
)

// seed is the seed of all random tests; the environment variable SEED sets it, to repeat a run.
var seed = rand.Uint64()

func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		if err := flag.Set("rapid.checks", "40"); err != nil {
			panic(err)
		}
	}
	if text := os.Getenv("SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			panic("SEED: " + err.Error())
		}
		if err := flag.Set("rapid.seed", text); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// A random is a source of random numbers for the goroutines of one trial. nil always yields the middle.
type random struct {
	mu     sync.Mutex
	source *rand.Rand
}

// newRandom makes the source of one trial of a test, and the first trial logs the seed.
func newRandom(t *testing.T, trial int) *random {
	t.Helper()
	if trial == 0 {
		t.Logf("seed %d", seed)
	}
	name := fnv.New64()
	_, _ = name.Write([]byte(t.Name()))
	return &random{source: rand.New(rand.NewPCG(seed+uint64(trial), name.Sum64()))}
}

func (r *random) intN(n int) int {
	if r == nil {
		return n / 2
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.source.IntN(n)
}

// duration draws a duration below a limit, in milliseconds.
func (r *random) duration(limit time.Duration) time.Duration {
	return time.Duration(r.intN(int(limit.Milliseconds()))) * time.Millisecond
}
