from saelab.train.metrics_log import MetricsLog, read_metrics


def test_going_back_to_a_step_drops_the_later_lines(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    for step in (1, 2, 3, 4):
        log.write({"step": step})
    log.truncate(2)
    log.write({"step": 3, "again": True})
    assert read_metrics(log.path) == [{"step": 1}, {"step": 2}, {"step": 3, "again": True}]


def test_a_line_cut_in_the_middle_goes_too(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.write({"step": 1})
    whole = log.path.read_bytes()
    log.path.write_bytes(whole + b'{"step": 2, "lo')
    log.truncate(9)
    assert log.path.read_bytes() == whole


def test_the_last_line_of_a_run_in_progress_is_not_read_before_it_is_whole(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"st')
    assert read_metrics(tmp_path / "metrics.jsonl") == [{"step": 1}]


def test_without_a_file_there_is_nothing_to_drop(tmp_path):
    MetricsLog(tmp_path / "metrics.jsonl").truncate(0)
    assert not (tmp_path / "metrics.jsonl").exists()
