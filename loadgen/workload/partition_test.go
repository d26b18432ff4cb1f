package workload

import (
	"math/rand/v2"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// The vectors of Kafka's own test of its hash (UtilsTest.testMurmur2).
func TestMurmur2KnownVectors(t *testing.T) {
	for key, want := range map[string]int32{"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536,
		"a-little-bit-longer-string": -1486304829, "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971, "abc": 479470107} {
		if got := int32(murmur2([]byte(key))); got != want {
			t.Errorf("%q: %d, want %d", key, got, want)
		}
	}
}

// Another implementation puts every key where this one does, whatever its length and the number of partitions.
func TestPartitionIsThatOfOtherClients(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	theirs := kgo.StickyKeyPartitioner(nil).ForTopic("t")
	for range 20_000 {
		key := make([]byte, 1+rng.IntN(40))
		for i := range key {
			key[i] = byte(rng.Uint32())
		}
		n := 1 + rng.Int32N(2000)
		if got, want := Partition(key, n), theirs.Partition(&kgo.Record{Key: key}, int(n)); int(got) != want {
			t.Fatalf("%x of %d: %d, franz-go says %d", key, n, got, want)
		}
	}
}
