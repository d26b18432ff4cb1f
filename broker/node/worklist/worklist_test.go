package worklist

import (
	"slices"
	"testing"
)

func TestQueue(t *testing.T) {
	q := New[int]()
	q.Add(1, 2)
	q.Add(3)
	<-q.Wake()
	select {
	case <-q.Wake():
		t.Fatal("woken twice for what can be taken at once")
	default:
	}
	if got := q.Take(2); !slices.Equal(got, []int{1, 2}) {
		t.Fatalf("took %v", got)
	}
	q.Add(4)
	<-q.Wake()
	if got := q.Take(10); !slices.Equal(got, []int{3, 4}) {
		t.Fatalf("took %v", got)
	}
	if got := q.Take(10); len(got) > 0 {
		t.Fatalf("took %v of nothing", got)
	}
}
