package meta

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"ackline/broker/id"
	"ackline/broker/statemachine"
)

// TestReaders reads Catalogs while they are replaced: each must be of one piece, whatever comes after it.
func TestReaders(t *testing.T) {
	c := founded(t, 4)
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					whole(t, c.catalog())
				}
			}
		})
	}
	r := rand.New(rand.NewPCG(3, 3))
	for range 400 {
		c.step(r)
	}
	close(done)
	readers.Wait()
	whole(t, c.catalog())
}

// TestCatalogsNeverChange keeps every Catalog that there was and looks at them again at the end.
func TestCatalogsNeverChange(t *testing.T) {
	c := founded(t, 4)
	r := rand.New(rand.NewPCG(11, 11))
	var catalogs []*Catalog
	var images [][]byte
	for range 300 {
		c.step(r)
		catalogs, images = append(catalogs, c.catalog()), append(images, image(t, c.machine))
	}
	for i, catalog := range catalogs {
		var again bytes.Buffer
		if err := catalog.Snapshot(&again); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again.Bytes(), images[i]) {
			t.Fatalf("the catalog of index %d was changed by a later command", catalog.Applied())
		}
		whole(t, catalog)
	}
}

// whole checks that the parts of a Catalog agree.
func whole(t *testing.T, c *Catalog) {
	partitions := 0
	for _, topic := range c.Topics() {
		if c.Topic([]byte(topic.Name)) != topic || c.TopicNamed(topic.Name) != topic || c.TopicByID(topic.ID) != topic {
			t.Errorf("index %d: topic %s is listed and cannot be looked up", c.Applied(), topic.Name)
		}
		for i, p := range topic.Partitions {
			partitions++
			if got, partition := c.Group(p.Group); got != topic || int(partition) != i {
				t.Errorf("index %d: group %d is %s/%d, and looked up %v/%d", c.Applied(), p.Group, topic.Name, i, got, partition)
			}
			if p.Group >= c.nextGroup {
				t.Errorf("index %d: group %d and the next is %d", c.Applied(), p.Group, c.nextGroup)
			}
		}
	}
	if partitions != c.Partitions() {
		t.Errorf("index %d: %d partitions listed, %d counted", c.Applied(), partitions, c.Partitions())
	}
}

func BenchmarkTopicLookup(b *testing.B) {
	c := founded(b, 3)
	for i := range 1000 {
		c.create(fmt.Sprintf("topic-%d", i), 1, 3)
	}
	name := []byte("topic-421")
	for b.Loop() {
		if c.machine.Catalog().Topic(name) == nil {
			b.Fatal("not found")
		}
	}
}

// BenchmarkReplay replays the creation of 10,000 topics, which must not become quadratic.
func BenchmarkReplay(b *testing.B) {
	c := founded(b, 3)
	for i := range 10_000 {
		create := CreateTopic{ID: c.topicID(), Name: fmt.Sprintf("topic-%d", i), Assignment: [][]id.NodeID{{1, 2, 3}}}
		c.do(create)
	}
	for b.Loop() {
		m := New(nil)
		for i, data := range c.log {
			if _, err := m.Apply(statemachine.Entry{Index: id.Index(i + 1), Data: data}); err != nil {
				b.Fatal(err)
			}
		}
	}
}
