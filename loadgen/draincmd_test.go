package main

import (
	"encoding/json"
	"strings"
	"testing"

	"ackline/loadgen/brokertest"
	"ackline/loadgen/result"
)

func TestDrain(t *testing.T) {
	b := brokertest.Start(t, 1)
	args := []string{"drain", "--brokers", b.Addr(), "--topic", "t", "--backlog", "500", "--partitions", "2", "--records-per-request", "50", "--json", "-"}
	code, out, errOut := do(t, args...)
	var r result.Result
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v: %s", err, errOut)
	}
	if code != exitValid || r.Drain.Records < 500 || r.Target.Workload != "drain" || !strings.Contains(errOut, "records drained by 2 consumers from 2 partitions") {
		t.Errorf("exit %d, %+v: %s", code, r.Drain, errOut)
	}
	b.Break(brokertest.Faults{LoseBatch: 2})
	if code, out, _ := do(t, args[:len(args)-2]...); code != exitFailed || !strings.Contains(out, "CHECK FAILED") || strings.Contains(out, "drained") {
		t.Errorf("exit %d: %s", code, out)
	}
	for _, bad := range [][]string{{"--backlog", "0"}, {"--consumers", "5000"}, {"--floor", "a:1"}} {
		if code, _, errOut := do(t, append([]string{"drain", "--brokers", "a:1"}, bad...)...); code != exitUsage {
			t.Errorf("%v: exit %d, %s", bad, code, errOut)
		}
	}
}
