package main

import (
	"bytes"
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"ackline/loadgen/brokertest"
	"ackline/loadgen/place"
	"ackline/loadgen/result"
)

var madeTopics = regexp.MustCompile(`made 3 topics, (loadgen-\S+), (loadgen-\S+), (loadgen-\S+), which are (deleted at the end|kept)`)

// Several topics are named while they are there, and gone after the run and after an interruption; kept, they are said to be, and used again.
func TestOwnTopicsAreNamedAndDeleted(t *testing.T) {
	b := brokertest.Start(t, 1)
	for _, how := range []string{"to its end", "interrupted", "kept"} {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		w := &trigger{on: "made 3 topics", do: func() {}}
		args := append(unnamed(short(b, "--for", "300ms")), "--topics", "3", "--partitions", "2")
		switch how {
		case "interrupted":
			w.on, w.do = " 1 s measure", cancel
			args = append(args, "--for", "1h")
		case "kept":
			args = append(args, "--keep")
		}
		var out bytes.Buffer
		code := run(ctx, args, &out, w)
		m := madeTopics.FindStringSubmatch(w.text())
		if code != exitValid && code != exitInvalid || m == nil || (m[4] == "kept") != (how == "kept") || !strings.Contains(out.String(), "0 lost") {
			t.Fatalf("%s: exit %d, %q\n%s%s", how, code, m, out.String(), w.text())
		}
		for _, name := range m[1:4] {
			if b.Has(name) != (how == "kept") {
				t.Errorf("%s: %q is there: %v", how, name, b.Has(name))
			}
		}
		if how != "kept" {
			continue
		}
		names := place.Topics(m[1:4]).String()
		if !strings.Contains(w.text(), "topic "+names+" are kept; --topic "+names+" --existing uses them again") {
			t.Errorf("what is kept is not said:\n%s", w.text())
		}
		code, text, errOut := do(t, append(unnamed(short(b, "--for", "300ms")), "--topic", names, "--existing")...)
		if code != exitValid && code != exitInvalid || !strings.Contains(text, "3 topics") || !b.Has(m[1]) {
			t.Errorf("exit %d: %s%s", code, text, errOut)
		}
		code, text, errOut = do(t, append(unnamed(short(b, "--for", "300ms")), "--topic", names, "--existing", "--workload", "fetch")...)
		if code != exitValid && code != exitInvalid || !strings.Contains(text, "fetch from 3 topics") || !strings.Contains(text, "; 0 failed") {
			t.Errorf("exit %d: %s%s", code, text, errOut)
		}
	}
}

// A record of the second topic that is lost fails the whole run, whatever the rest is like, and the summary says where it was.
func TestLossInTheSecondTopicFailsTheRun(t *testing.T) {
	b := brokertest.Start(t, 1)
	b.Break(brokertest.Faults{Topic: "t-1", LoseBatch: 20})
	code, out, errOut := do(t, short(b, "--topics", "2", "--partitions", "2", "--key", "uniform:1000", "--partition-by", "key")...)
	if code != exitFailed || !strings.Contains(out, "2 lost") || !strings.Contains(out, "acknowledged at topic t-1 partition ") || strings.Contains(out, "topic t-0 partition 0 offset") {
		t.Errorf("exit %d: %s%s", code, out, errOut)
	}
	if b.Has("t-0") || b.Has("t-1") {
		t.Error("the topics are still there")
	}
}

// A workload's file says how many topics and what chooses the partition; the skew of hot keys is in the summary and in the result.
func TestTopicsFromAWorkloadFile(t *testing.T) {
	b := brokertest.Start(t, 1)
	file := write(t, "topics = 2\npartition_by = \"key\"\nkey = \"zipf:1000,1.5\"\npartitions = 4\nconnections = 2\nin_flight = 4\n")
	code, out, errOut := do(t, short(b, "--workload-file", file, "--json", "-")...)
	if code != exitValid && code != exitInvalid || !strings.Contains(errOut, "partition by: key") || !strings.Contains(errOut, "0 lost") {
		t.Fatalf("exit %d: %s", code, errOut)
	}
	var r result.Result
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	if len(r.ByPartition) != 8 || r.ByPartition[0].Topic != "t-0" || r.ByPartition[7] != (result.PartitionCount{Topic: "t-1", Partition: 3, Acked: r.ByPartition[7].Acked}) {
		t.Fatalf("%+v", r.ByPartition)
	}
	busiest := slices.MaxFunc(r.ByPartition, func(a, b result.PartitionCount) int { return int(a.Acked - b.Acked) })
	if result.Skew(r.ByPartition) < 2 || !strings.Contains(errOut, "partition 0 ") || !strings.Contains(errOut, "    "+place.Name(busiest.Topic, busiest.Partition)+" ") {
		t.Errorf("skew %g:\n%s", result.Skew(r.ByPartition), errOut)
	}
	for text, says := range map[string]string{"topics = 2\nexisting = true\n": "unknown key", "topics = \"many\"\n": "w.toml:1:", "partition_by = \"value\"\n": "--partition-by must be one of", "partition_by = \"key\"\n": "partition-by key without keys"} {
		if code, _, errOut := do(t, "--brokers", "a:1", "--workload-file", write(t, text)); code != exitUsage || !strings.Contains(errOut, says) {
			t.Errorf("%q: exit %d, %q", text, code, errOut)
		}
	}
}

// Agents use the topics that the run made, all of them, and each is deleted.
func TestAgentsOverSeveralTopics(t *testing.T) {
	b := brokertest.Start(t, 1)
	args := append(unnamed(short(b, "--agents", agentOf(t)+","+agentOf(t))), "--topics", "2", "--partitions", "2", "--key", "uniform:99", "--partition-by", "key", "--json", "-")
	code, out, errOut := do(t, args...)
	var r result.Result
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != exitValid && code != exitInvalid {
		t.Fatalf("exit %d, %v: %s", code, err, errOut)
	}
	if c := r.Check; len(r.ByPartition) != 4 || r.Target.Topics != 2 || !c.Passed() || c.Read != c.Acked || c.Foreign != 0 || c.Partitions != 4 || len(r.Agents) != 2 {
		t.Errorf("%+v, %+v, %+v", r.Target, r.ByPartition, r.Check)
	}
	for _, name := range place.Parse(r.Target.Topic) {
		if b.Has(name) {
			t.Errorf("%q is still there", name)
		}
	}
}

// The search for a rate puts its trials on several topics, too, and a soak reads all of them.
func TestKneeAndCheckOverSeveralTopics(t *testing.T) {
	b := brokertest.Start(t, 1)
	code, out, errOut := do(t, "knee", "--brokers", b.Addr(), "--topics", "2", "--partitions", "2", "--key", "uniform:9", "--partition-by", "key", "--objective", "p50<=10s", "--from", "200", "--to", "400",
		"--trials", "1", "--for", "300ms", "--discard", "0s", "--rest", "0s", "--warm-up", "0s", "--timeout", "2m", "--in-flight", "8")
	if code == exitUsage || code == exitError || !strings.Contains(out, "2 topics loadgen-") || !strings.Contains(out, "0 lost") {
		t.Errorf("knee: exit %d: %s%s", code, out, errOut)
	}
	code, out, errOut = do(t, "check", "--brokers", b.Addr(), "--topics", "2", "--partitions", "2", "--for", "400ms", "--rate", "300")
	if code != exitValid || strings.Count(errOut, "made the topic loadgen-check-") != 2 || !strings.Contains(errOut, "writing to 4 partitions") {
		t.Errorf("check: exit %d: %s%s", code, out, errOut)
	}
	if code, _, errOut := do(t, "check", "--brokers", b.Addr(), "--topics", "2", "--existing", "--topic", "t", "--for", "1s"); code != exitUsage || !strings.Contains(errOut, "--topic a,b,c") {
		t.Errorf("exit %d: %s", code, errOut)
	}
}
