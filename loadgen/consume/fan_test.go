package consume

import (
	"strings"
	"sync/atomic"
	"testing"

	"ackline/loadgen/result"
)

func TestConsumersThatAreBehind(t *testing.T) {
	f := &Fan{}
	f.read = make([]atomic.Int64, 2)
	f.read[0].Store(100)
	f.read[1].Store(70)
	f.tails = make([]*Tail, 2)
	if c := f.Sum(60); c.Behind != 0 {
		t.Errorf("after 60 records: %+v", c)
	}
	c := f.Sum(40) // 100 with those before
	if *c != (result.Consumers{Count: 2, Records: 170, Behind: 30}) {
		t.Errorf("%+v", c)
	}
	var text strings.Builder
	r := &result.Result{Consumers: c}
	if err := r.Print(&text); err != nil || !strings.Contains(text.String(), "2 consumers had 170 records; the slowest was 30 behind") {
		t.Errorf("%v: %s", err, text.String())
	}
}
