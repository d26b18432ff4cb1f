package backlog_test

import (
	"slices"
	"testing"

	"ackline/broker/id"
	"ackline/broker/node/backlog"
)

func TestSet(t *testing.T) {
	s := backlog.New()
	want := func(what string, got []id.GroupID, groups ...id.GroupID) {
		t.Helper()
		slices.Sort(got)
		if !slices.Equal(got, groups) {
			t.Fatalf("%s: %v, want %v", what, got, groups)
		}
	}
	woken := func() bool {
		select {
		case <-s.Wake():
			return true
		default:
			return false
		}
	}
	if !s.Empty() || woken() {
		t.Fatal("a new set is not empty, or wakes somebody")
	}
	s.Add(1)
	if s.Empty() || !woken() {
		t.Fatal("the first group wakes nobody")
	}
	s.Add(2)
	if woken() {
		t.Fatal("a group beside others wakes somebody")
	}
	s.Large(3)
	if !woken() {
		t.Fatal("the first large group wakes nobody")
	}
	want("all", s.All(nil), 1, 2, 3)
	want("large", s.TakeLarge(nil), 3)
	want("large once more", s.TakeLarge(nil))
	want("all, after the large were taken", s.All(nil), 1, 2, 3)
	s.Large(1)
	s.Add(1) // it remains large
	want("large again", s.TakeLarge([]id.GroupID{0}), 0, 1)
	s.Again(1)
	want("large after all", s.TakeLarge(nil), 1)
	s.Large(2)
	s.Remove(2)
	s.Again(2)
	want("large and removed", s.TakeLarge(nil))
	want("all, without the removed", s.All(nil), 1, 3)
	s.Remove(1)
	s.Remove(3)
	if !s.Empty() {
		t.Fatal("all are removed, and the set is not empty")
	}
	s.Large(4)
	if s.Empty() || !woken() {
		t.Fatal("the first group, a large one, wakes nobody")
	}
}
