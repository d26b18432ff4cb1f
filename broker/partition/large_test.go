package partition_test

import "testing"

// It is said once that a partition has enough for a flush, when it comes to have it, and once more behind a flush.
func TestLargeIsSaidOnce(t *testing.T) {
	f := newFixture(t, 0)
	for lap := 1; lap <= 3; lap++ {
		part := 0
		pending := func() int64 {
			_, bytes := f.p.Pending()
			return bytes
		}
		for ; pending() < flushBytes; part++ {
			if f.large != lap-1 {
				t.Fatalf("with %d bytes of %d it is said that there is enough, in lap %d", pending(), flushBytes, lap)
			}
			f.mustProduce(part, 1)
			f.commitAll()
		}
		if part < 2 {
			t.Fatalf("one record has %d bytes", pending())
		}
		for range 2 * part {
			f.mustProduce(part, 1)
			f.commitAll()
		}
		if f.large != lap {
			t.Fatalf("with %d bytes of %d it was said %d times that there is enough, in lap %d", pending(), flushBytes, f.large, lap)
		}
		if _, err := f.p.Flush(); err != nil {
			t.Fatal(err)
		}
		if pending() != 0 {
			t.Fatalf("behind a flush %d bytes are pending", pending())
		}
	}
}
