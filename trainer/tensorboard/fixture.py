"""Writes `events.tfevents`, what TensorBoard's own writer makes of the events of the test that reads it. (pip install tensorboard==2.21.0)"""
import struct
import sys

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

with open(sys.argv[1], "wb") as file:
    writer = RecordWriter(file)
    events = [
        Event(wall_time=1e9, step=0, file_version="brain.Event:2"),
        Event(wall_time=1e9, step=300, session_log=SessionLog(status=SessionLog.START)),
        Event(
            wall_time=1e9,
            step=300,
            summary=Summary(
                value=[
                    Summary.Value(tag="validation/loss/en", simple_value=4.2),
                    Summary.Value(tag="validation/bits_per_byte/en", simple_value=0.5),
                ]
            ),
        ),
    ]
    for event in events:
        writer.write(event.SerializeToString())
