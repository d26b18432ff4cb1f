package probe

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"ackline/loadgen/frame"
)

// FirstAckPoll is how often a write is tried until the broker takes it, FirstAckLimit for how long.
const (
	FirstAckPoll  = time.Millisecond
	FirstAckLimit = 30 * time.Second
)

// FirstAck writes one record to a broker that has just started and returns when it was acknowledged. It goes past the
// driver, whose attempts to reconnect are further apart than what is measured.
func FirstAck(ctx context.Context, addr, topic string, runID uint64) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, FirstAckLimit)
	defer cancel()
	request, err := frame.NewProduce(topic, 1, 1000, frame.NewPayloads(runID, frame.MinPayload))
	if err != nil {
		return time.Time{}, err
	}
	buf := make([]byte, request.Len())
	request.Init(buf)
	request.Patch(buf, 1, 0, 0, 0, time.Now().UnixMilli())
	for {
		at, err := writeOnce(addr, buf)
		if err == nil {
			return at, nil
		}
		select {
		case <-ctx.Done():
			return time.Time{}, errors.Join(context.Cause(ctx), err)
		case <-time.After(FirstAckPoll):
		}
	}
}

// writeOnce sends a Produce frame over a fresh connection.
func writeOnce(addr string, request []byte) (time.Time, error) {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return time.Time{}, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return time.Time{}, err
	}
	if _, err := conn.Write(request); err != nil {
		return time.Time{}, err
	}
	var head [4]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return time.Time{}, err
	}
	reply := make([]byte, min(binary.BigEndian.Uint32(head[:]), 1<<16))
	if _, err := io.ReadFull(conn, reply); err != nil {
		return time.Time{}, err
	}
	at := time.Now()
	p, err := frame.ParseProduced(reply)
	if err == nil && p.Code != 0 {
		err = fmt.Errorf("the write was answered with error code %d", p.Code)
	}
	return at, err
}
