//go:build !race

package meta

import (
	"fmt"
	"testing"
)

func TestLookupAllocatesNothing(t *testing.T) {
	c := founded(t, 3)
	for i := range 100 {
		c.create(fmt.Sprintf("topic-%d", i), 3, 3)
	}
	name, wanted := []byte("topic-42"), c.catalog().TopicNamed("topic-42")
	allocated := testing.AllocsPerRun(100, func() {
		catalog := c.machine.Catalog()
		topic := catalog.Topic(name)
		if topic != wanted || catalog.TopicByID(wanted.ID) != wanted {
			t.Fatal("not found")
		}
		if got, _ := catalog.Group(topic.Partitions[2].Group); got != wanted {
			t.Fatal("group not found")
		}
	})
	if allocated != 0 {
		t.Fatalf("%v allocations per lookup", allocated)
	}
}
