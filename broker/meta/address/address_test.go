package address

import "testing"

func TestSplit(t *testing.T) {
	if host, port, err := Split("node1:9092"); host != "node1" || port != 9092 || err != nil {
		t.Errorf("%q, %d, %v", host, port, err)
	}
	if host, port, err := Split("[::1]:1"); host != "::1" || port != 1 || err != nil {
		t.Errorf("%q, %d, %v", host, port, err)
	}
	for _, bad := range []string{"", "node1", ":9092", "node1:0", "node1:65536", "node1:kafka", "a:b:1"} {
		if host, port, err := Split(bad); err == nil {
			t.Errorf("%q is taken for %q and %d", bad, host, port)
		}
	}
}
