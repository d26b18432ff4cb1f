package readindex_test

import (
	"slices"
	"testing"

	"ackline/broker/replica/readindex"
)

func TestOneQuestionForAllThatCameBefore(t *testing.T) {
	var q readindex.Queue
	var got []uint64
	each := func(ctx uint64) { got = append(got, ctx) }
	want := func(what string, ctxs ...uint64) {
		t.Helper()
		if !slices.Equal(got, ctxs) {
			t.Fatalf("%s answers %v, want %v", what, got, ctxs)
		}
		got = nil
	}
	if q.Ask() != nil || !q.Empty() {
		t.Fatal("an empty queue asks")
	}
	q.Add(1)
	first := q.Ask()
	q.Add(2)
	q.Add(3)
	if first == nil || q.Ask() != nil {
		t.Fatalf("the first question is %x, and another is asked while it is under way", first)
	}
	q.Answer(first, each)
	want("the first question", 1)
	second := q.Ask()
	q.Answer(first, each)
	want("the first question again")
	q.Add(4)
	q.Fail(each)
	want("failing", 2, 3, 4)
	q.Add(5)
	third := q.Ask()
	q.Answer(second, each)
	want("a question of an earlier leadership")
	q.Answer([]byte("no question"), each)
	want("something else")
	q.Answer(third, each)
	want("the third question", 5)
	if !q.Empty() {
		t.Fatal("all is answered, and the queue is not empty")
	}
}
