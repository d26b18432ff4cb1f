package spread

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"ackline/loadgen/cluster"
	"ackline/loadgen/frame"
	"ackline/loadgen/place"
	"ackline/loadgen/workload"
)

func TestDealSpreadsOverLeaders(t *testing.T) {
	ps := []cluster.Partition{{ID: 0, Leader: 1}, {ID: 1, Leader: 2}, {ID: 2, Leader: 3}, {ID: 3, Leader: 1}, {ID: 4, Leader: 2}}
	for n, want := range map[int][][]int32{
		1: {{0, 3}},
		3: {{0, 3}, {1, 4}, {2}},
		4: {{0}, {1, 4}, {2}, {3}},
		7: {{0}, {1}, {2}, {3}, {4}, {2}, {0}},
	} {
		if got := Deal(n, ps); !slices.EqualFunc(got, want, slices.Equal) {
			t.Errorf("%d connections: %v, want %v", n, got, want)
		}
	}
}

// Every thread reaches every partition, and those that are alone on their connections are, for any number of connections that suffices.
func TestDealKeyedReachesEverything(t *testing.T) {
	ps := []cluster.Partition{{ID: 0, Leader: 1}, {ID: 1, Leader: 2}, {ID: 2, Leader: 3}, {ID: 3, Leader: 1}, {ID: 4, Leader: 2}}
	for _, alone := range []bool{false, true} {
		least := 3
		if alone {
			least = 6
		}
		for n := 1; n < 40; n++ {
			shares, used, err := DealKeyed(n, 4, alone, ps)
			if n < least {
				if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("want --connections %d", least)) {
					t.Errorf("%d connections, alone %v: %v", n, alone, err)
				}
				continue
			}
			if err != nil || used != min(4, n/least) {
				t.Fatalf("%d connections, alone %v: %d threads, %v", n, alone, used, err)
			}
			for thread := range used {
				reached := map[int32]bool{}
				for i := thread; i < n; i += used {
					leaders := map[int32]bool{}
					for _, id := range shares[i] {
						reached[id] = true
						leaders[ps[id].Leader] = true
					}
					if len(leaders) != 1 || alone && len(shares[i]) != 1 {
						t.Errorf("%d connections, alone %v: connection %d serves %v", n, alone, i, shares[i])
					}
				}
				if len(reached) != len(ps) {
					t.Errorf("%d connections: thread %d of %d reaches %v", n, thread, used, reached)
				}
			}
		}
	}
}

// Records go where another client would send their keys, topics get equal shares, and producers draw different records.
func TestDraw(t *testing.T) {
	keys, err := workload.ParseKeys("zipf:1000,1.2")
	if err != nil {
		t.Fatal(err)
	}
	p := frame.NewDrawnPayloads(9, workload.Shape{Size: workload.Fixed(100), Key: keys})
	topic := cluster.Topic{Name: "a,b"}
	for i, n := range []int32{3, 5} {
		for j := range n {
			topic.Partitions = append(topic.Partitions, cluster.Partition{ID: place.Of(i, j)})
		}
	}
	theirs := kgo.StickyKeyPartitioner(nil).ForTopic("t")
	seen, perTopic := map[uint64]bool{}, [2]int{}
	perPlace := map[int32]int{}
	for producer := range 3 {
		d := NewDrawer(p, topic, producer, 3)
		for range 10_000 {
			draw, at := d.Draw()
			index, number := place.Split(at)
			if want := theirs.Partition(&kgo.Record{Key: p.DrawnKey(nil, draw)}, []int{3, 5}[index]); int(number) != want || seen[draw] {
				t.Fatalf("draw %d goes to partition %d of topic %d, franz-go says %d; drawn before: %v", draw, number, index, want, seen[draw])
			}
			seen[draw] = true
			perTopic[index]++
			perPlace[at]++
		}
	}
	if d := perTopic[0] - perTopic[1]; d < -1000 || d > 1000 {
		t.Errorf("%v records by topic", perTopic)
	}
	if len(perPlace) != 8 || slices.Max(slices.Collect(maps.Values(perPlace))) < 3*slices.Min(slices.Collect(maps.Values(perPlace))) {
		t.Errorf("the hot keys' partitions are not hot: %v", perPlace)
	}
}
