package waiter

import "testing"

func TestWhoIsWokenOnceIsDropped(t *testing.T) {
	a, b, c := New(), New(), New()
	one := &List{a, &List{b, &List{c, nil}}}
	other := &List{b, nil}
	other.Complete()
	other.Complete() // a second time it must not block
	c.Cancel()
	if one = one.DropSpent(); one == nil || one.Waiter != a || one.Next != nil {
		t.Fatalf("the list is %+v, want the first alone", one)
	}
	one.Complete()
	for what, w := range map[string]*Waiter{"first": a, "second": b} {
		select {
		case <-w.C:
		default:
			t.Errorf("the %s was not woken", what)
		}
		if len(w.C) != 0 || !w.Spent() {
			t.Errorf("the %s is woken again", what)
		}
	}
	if len(c.C) != 0 {
		t.Error("one that gave up was woken")
	}
	if (*List)(nil).DropSpent() != nil {
		t.Error("an empty list has somebody in it")
	}
}
