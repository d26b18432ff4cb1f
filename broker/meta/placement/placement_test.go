package placement

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"ackline/broker/id"
)

// nodes returns candidates 1 to n in zones given by letters, such as "abc" or "aab"; a digit before a letter is its
// region.
func nodes(zones string) []Candidate {
	var list []Candidate
	region := ""
	for _, z := range zones {
		if z >= '0' && z <= '9' {
			region = string(z)
			continue
		}
		list = append(list, Candidate{Node: id.NodeID(len(list) + 1), Region: region, Zone: string(z)})
	}
	return list
}

func TestPlace(t *testing.T) {
	for _, test := range []struct {
		zones                   string
		partitions, replication int
		want                    string
	}{
		{"a", 2, 1, "[[1] [1]]"},
		{"abc", 3, 3, "[[1 2 3] [2 3 1] [3 1 2]]"},
		{"aab", 2, 2, "[[1 3] [2 3]]"},              // never 1 and 2 together
		{"aabb", 2, 2, "[[1 3] [2 4]]"},             //
		{"1aa2aa", 2, 2, "[[1 3] [2 4]]"},           // equal zone names in two regions are two zones
		{"1abc2a3a", 1, 3, "[[1 4 5]]"},             // regions before zones
		{"1ab2a", 1, 3, "[[1 3 2]]"},                // and then as many zones as there are
		{"aaaa", 4, 2, "[[1 2] [3 4] [2 4] [4 1]]"}, // no zones to speak of: balance alone
	} {
		rows, err := Place(nodes(test.zones), test.partitions, test.replication)
		if got := fmt.Sprint(rows); err != nil || got != test.want {
			t.Errorf("%s, %d partitions of %d: %s, %v; want %s", test.zones, test.partitions, test.replication, got, err, test.want)
		}
	}
}

func TestPlaceRefuses(t *testing.T) {
	for _, replication := range []int{-1, 0, 4} {
		if rows, err := Place(nodes("abc"), 1, replication); err == nil {
			t.Errorf("%d replicas on 3 nodes: %v", replication, rows)
		}
	}
	if _, err := Place(nil, 1, 1); err == nil {
		t.Error("placed on no node")
	}
}

// TestPlaceGoesWhereThereIsRoom counts what nodes hold already.
func TestPlaceGoesWhereThereIsRoom(t *testing.T) {
	list := nodes("abcd")
	list[0].Replicas, list[0].Leaders = 10, 5
	list[1].Replicas = 10
	rows, err := Place(list, 2, 2)
	if got := fmt.Sprint(rows); err != nil || got != "[[3 4] [4 3]]" {
		t.Fatalf("%s, %v", got, err)
	}
	if list[2].Replicas != 0 {
		t.Fatal("the argument was changed")
	}
}

// TestPlaceProperties draws clusters and checks what must hold of every placement.
func TestPlaceProperties(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 0))
		perZone, zones := 1+r.IntN(3), 1+r.IntN(4)
		var list []Candidate
		for range perZone {
			for z := range zones {
				list = append(list, Candidate{Node: id.NodeID(len(list)), Zone: fmt.Sprint(z)})
			}
		}
		replication, partitions := 1+r.IntN(min(len(list), 5)), 1+r.IntN(60)
		rows, err := Place(list, partitions, replication)
		if err != nil {
			t.Fatal(err)
		}
		what := fmt.Sprintf("seed %d: %d zones of %d nodes, %d partitions of %d", seed, zones, perZone, partitions, replication)

		zoneOf := map[id.NodeID]string{}
		for _, c := range list {
			zoneOf[c.Node] = c.Zone
		}
		leaders, replicas := map[id.NodeID]int{}, map[id.NodeID]int{}
		for _, row := range rows {
			inZone, seen := map[string]int{}, map[id.NodeID]bool{}
			leaders[row[0]]++
			for _, n := range row {
				if seen[n] {
					t.Fatalf("%s: node twice in %v", what, row)
				}
				seen[n] = true
				inZone[zoneOf[n]]++
				replicas[n]++
			}
			for z, n := range inZone {
				if most := (replication + zones - 1) / zones; n > most {
					t.Fatalf("%s: %d replicas of %v in zone %s, %d would do", what, n, row, z, most)
				}
			}
		}
		if d := spread(list, leaders); d > 1 {
			t.Fatalf("%s: nodes lead %v, apart by %d", what, leaders, d)
		}
		if d := spread(list, replicas); d > 2 {
			t.Fatalf("%s: nodes hold %v, apart by %d", what, replicas, d)
		}

		r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		if again, err := Place(list, partitions, replication); err != nil || !reflect.DeepEqual(again, rows) {
			t.Fatalf("%s: the order of the arguments matters", what)
		}
	}
}

// spread is the difference between the largest and the smallest count.
func spread(list []Candidate, counts map[id.NodeID]int) int {
	low, high := counts[list[0].Node], counts[list[0].Node]
	for _, c := range list {
		low, high = min(low, counts[c.Node]), max(high, counts[c.Node])
	}
	return high - low
}

func TestLead(t *testing.T) {
	rows := [][]id.NodeID{{1, 2, 3}, {2, 3, 1}, {3, 1, 2}, {1, 2}}
	for region, want := range map[string]string{"": fmt.Sprint(rows), "2": "[[3 1 2] [3 2 1] [3 1 2] [1 2]]", "b": "[[2 1 3] [2 3 1] [2 3 1] [2 1]]",
		"mars": fmt.Sprint(rows)} {
		if got := fmt.Sprint(Lead(rows, nodes("1ab2c"), region)); got != want {
			t.Errorf("led in %q: %s, want %s", region, got, want)
		}
	}
	if fmt.Sprint(rows) != "[[1 2 3] [2 3 1] [3 1 2] [1 2]]" {
		t.Errorf("the argument is %v now", rows)
	}
}
