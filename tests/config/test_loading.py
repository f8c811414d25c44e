"""One tree of settings: file, environment, flags; errors that name file, key and remedy."""

from pathlib import Path

import pytest

from mailsluice.config import loading
from mailsluice.model.errors import ConfigurationError

EXAMPLES = sorted((Path(__file__).parents[2] / "configs").glob("*.toml"))
CONFIGS = [path for path in EXAMPLES if path.stem != "worker"]

MINIMAL = '[mailing]\nfrom = "a@example.com"\ntemplate = "t"\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mailing.toml"
    path.write_text(MINIMAL)
    return path


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_example_loads(path: Path) -> None:
    mailing, settings = loading.load(path)
    assert mailing.from_address
    assert settings.recipients.path


def test_the_workers_example_loads() -> None:
    [path] = [path for path in EXAMPLES if path.stem == "worker"]
    assert loading.load_worker(path).folder.at_once == 8


def test_there_are_examples() -> None:
    assert {"local-emulator", "sandbox", "production"} <= {path.stem for path in CONFIGS}


def test_the_defaults_are_those_of_the_contract(file: Path) -> None:
    _, settings = loading.load(file)
    assert (
        settings.quota.rate,
        settings.quota.share,
        settings.quota.reserve,
        settings.quota.calls_per_second,
    ) == ("account", 1.0, 0, 0)
    delivery = settings.delivery
    assert (
        delivery.in_flight,
        delivery.in_doubt,
        delivery.max_attempts,
        delivery.timeout_s,
    ) == (32, "hold", 10, 30)
    assert (
        settings.ses.region,
        settings.ses.profile,
        settings.ses.endpoint_url,
    ) == (None, None, None)


def test_a_flag_wins_over_the_environment_and_that_over_the_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text(MINIMAL + "[quota]\nrate = 10\nreserve = 1\nshare = 0.5\n")
    monkeypatch.setenv("MAILSLUICE_QUOTA__RATE", "20")
    monkeypatch.setenv("MAILSLUICE_QUOTA__RESERVE", "2")
    _, settings = loading.load(file, ["quota.rate=30"])
    assert (settings.quota.rate, settings.quota.reserve, settings.quota.share) == (30, 2, 0.5)


def test_the_mailing_can_be_overridden_too(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAILSLUICE_MAILING__TEMPLATE", "from-environment")
    mailing, _ = loading.load(file, ["mailing.from=Ann <b@example.com>", "mailing.tags={a='b'}"])
    assert mailing.template == "from-environment"
    assert (mailing.from_address, mailing.tags) == ("Ann <b@example.com>", {"a": "b"})


def test_an_endpoint_in_a_flag_is_text_and_not_toml(file: Path) -> None:
    _, settings = loading.load(file, ["ses.endpoint_url=http://127.0.0.1:1", "quota.rate=account"])
    assert settings.ses.endpoint_url == "http://127.0.0.1:1"
    assert settings.quota.rate == "account"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MINIMAL + "[quota]\nrat = 1\n", r"mailing\.toml: \[quota\] rat: unknown key"),
        (
            MINIMAL + "[qota]\nrate = 1\n",
            r"mailing\.toml: \[qota\]: unknown key; did you mean .quota.\?",
        ),
        (MINIMAL + "[quota]\nrate = 0\n", r'\[quota\] rate: it must be "account", or a number'),
        (MINIMAL + "[quota]\nrate = 'x'\n", r'\[quota\] rate: it must be "account", or a number'),
        (MINIMAL + "[quota]\nrate = inf\n", r'\[quota\] rate: it must be "account", or a number'),
        (MINIMAL + "[quota]\nshare = 2\n", r"\[quota\] share: it must be 1 or less"),
        (
            MINIMAL + "[delivery]\nin_doubt = 'x'\n",
            r'\[delivery\] in_doubt: it must be "hold" or "resend"$',
        ),
        (
            MINIMAL + "[recipients]\ndedupe = 'x'\n",
            r'\[recipients\] dedupe: it must be "address", "key" or "none"$',
        ),
        ("[mailing]\ntemplate = 't'\n", r"mailing\.toml: \[mailing\] from: "),
        ("[mailing]\nfrom = 'a@example.com'\n", r"\[mailing\].*template"),
        (MINIMAL + "nonsense\n", r'invalid TOML: .*line 4.*\); write key = "value"$'),
        (MINIMAL + "tenant = x\n", r'line 4, .*\); text stands in straight double quotes, .*"$'),
        (MINIMAL + "tenant = “x”\n", r"line 4, .*\); text stands in straight double quotes"),
        (MINIMAL + 'tenant = "x\n', r"line 4, .*\); a quote is opened there and not closed$"),
        (MINIMAL + 'from_arn = "C:\\lists"\n', r"\); write \\\\ for each \\, or put the text into"),
        (MINIMAL + "template = 'u'\n", r"\); the key is there already$"),
        (MINIMAL + "[mailing]\n", r"\); put the keys of both tables into one$"),
        (MINIMAL + "[content]\ntext = 'x'\n", r"\[content\]: unknown key here; .* to \[mailing\]$"),
        (MINIMAL + "subject = 'x'\n", r"subject: unknown key here; .* \[mailing\.content\]$"),
        (
            "[mailing]\nfrom = 'a@b.de'\n[mailing.content]\ntext = 'x'\nconfiguration_set = 'x'\n",
            r"content\.configuration_set: unknown key here; it belongs to \[mailing\]$",
        ),
        (
            MINIMAL + "rate = 5\nkey = 'id'\n",
            r"\[mailing\] rate: .* to \[quota\]\n.*\[mailing\] key: .* to \[recipients\]$",
        ),
        (
            MINIMAL + "[quota]\ntags = {}\n",
            r"\[quota\] tags: .* belongs to \[recipients\] or \[mailing\]$",
        ),
        ("", r"mailing\.toml: \[mailing\] from"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(file: Path, text: str, message: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        loading.load(file)


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("rate=1", "table.key=value"),
        ("quota.rate", "table.key=value"),
        ("quota.=1", "table.key=value"),
        ("quota.rate.x=1", r"--set quota\.rate: "),
        ("quota.rat=1", r'^--set quota\.rat: unknown key; did you mean "rate"\?$'),
        ("quotas.rate=1", r'^--set quotas: unknown key; did you mean "quota"\?$'),
        (
            "mailing.form=a@example.com",
            r'^--set mailing\.form: unknown key; did you mean "from"\?$',
        ),
        ("delivery.in_doubt=x", r'^--set delivery\.in_doubt: it must be "hold" or "resend"$'),
        ("mailing.from=nobody", r"^--set mailing\.from: there is no @$"),
        ("mailing.content.html=1", r"^mailing\.toml|--set mailing\.content"),
    ],
)
def test_a_flag_that_is_none_says_how_to_write_one(file: Path, flag: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        loading.load(file, [flag])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "MAILSLUICE_QUOTA__RAT",
            "5",
            r'^environment: .*__RAT: unknown key; did you mean "rate"\?$',
        ),
        (
            "MAILSLUICE_QUOTA__SHARE",
            "7",
            r"^environment: MAILSLUICE_QUOTA__SHARE: it must be 1 or less$",
        ),
        (
            "MAILSLUICE_DELIVERY__IN_DOUBT",
            "x",
            r'^environment: \w+__IN_DOUBT: it must be "hold" or "resend"$',
        ),
        ("MAILSLUICE_RECIPIENTS__TAGS", "a=b", r"^environment: \w+__TAGS: it is not JSON; write"),
        ("MAILSLUICE_QUOTA", '{"shar": 1}', r"^environment: MAILSLUICE_QUOTA shar: unknown key"),
        ("mailsluice_quota__share", "7", r"^environment: MAILSLUICE_QUOTA__SHARE: "),
        (
            "MAILSLUICE_MAILING__FORM",
            "a",
            r'^environment: .*FORM: unknown key; did you mean "from"',
        ),
        (
            "MAILSLUICE_QUOTA_RATE",
            "5",
            r'_RATE: unknown table; did you mean "MAILSLUICE_QUOTA__RATE"',
        ),
    ],
)
def test_a_wrong_variable_is_blamed_on_the_environment(
    file: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str, message: str
) -> None:
    monkeypatch.setenv(name, text)
    with pytest.raises(ConfigurationError, match=message):
        loading.load(file)


def test_each_wrong_key_is_blamed_on_the_layer_that_won(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text(MINIMAL + "[quota]\nshare = 2\nreserve = -1\nrate = 0\n")
    monkeypatch.setenv("MAILSLUICE_QUOTA__SHARE", "3")
    monkeypatch.setenv("MAILSLUICE_QUOTA__RESERVE", "-3")
    with pytest.raises(ConfigurationError) as raised:
        loading.load(file, ["quota.share=4"])
    rate, share, reserve = str(raised.value).splitlines()
    assert rate.startswith(f"{file}: [quota] rate: ")
    assert share.startswith("--set quota.share: ")
    assert reserve.startswith("environment: MAILSLUICE_QUOTA__RESERVE: ")


def test_an_empty_variable_is_not_set(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MAILSLUICE_QUOTA__SHARE", "MAILSLUICE_QUOTA", "MAILSLUICE_QUOTAS"):
        monkeypatch.setenv(name, "")
    assert loading.load(file)[1].quota.share == 1.0


@pytest.mark.parametrize(
    "name",
    [
        "MAILSLUICE_PORT",
        "MAILSLUICE_SERVICE_HOST",
        "MAILSLUICE_SERVICE_PORT",
        "MAILSLUICE_SERVICE_PORT_HTTP",
        "MAILSLUICE_PORT_8025_TCP",
        "MAILSLUICE_PORT_8025_TCP_ADDR",
        "MAILSLUICE_WORKER_SERVICE_HOST",
        "MAILSLUICE_WORKER_PORT_8025_TCP_PROTO",
    ],
)
def test_service_links_of_kubernetes_are_ignored_with_a_line(
    file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    monkeypatch.setenv(name, "tcp://10.0.0.1:8025")
    loading.load(file)
    assert [record.getMessage() for record in caplog.records] == [
        f"environment: {name}: ignored, as a service link of Kubernetes"
    ]


def test_a_byte_order_mark_is_no_part_of_the_file(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbf" + MINIMAL.encode())
    assert loading.load(file)[0].template == "t"


def test_numbers_in_data_stay_as_written(file: Path) -> None:
    file.write_text(MINIMAL + "data = { price = 19.90, id = 12345678901234567890123 }\n")
    mailing, _ = loading.load(file, ["mailing.data.tax=1.50"])
    assert rb"{\"price\":19.90,\"id\":12345678901234567890123,\"tax\":1.50}" in mailing.prefix()


def test_a_misspelt_variable_is_not_ignored(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAILSLUICE_QUOTAS__RATE", "5")
    with pytest.raises(
        ConfigurationError,
        match=r"MAILSLUICE_QUOTAS__RATE: unknown table.*mean .MAILSLUICE_QUOTA__RATE",
    ):
        loading.load(file)


def test_a_variable_that_is_no_json_where_it_must_be_is_named(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAILSLUICE_QUOTA", "{bad")
    with pytest.raises(
        ConfigurationError, match=r"^environment: MAILSLUICE_QUOTA: it is not JSON; "
    ):
        loading.load(file)


def test_a_file_that_is_not_there_or_not_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.toml: there is no such file"):
        loading.load(tmp_path / "none.toml")
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match=r"binary\.toml: not UTF-8"):
        loading.load(binary)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        loading.load(tmp_path)


@pytest.mark.parametrize(
    ("http", "complaint"),
    [
        ('host = "0.0.0.0"', "a token is needed"),
        ('host = "0.0.0.0"\ntoken = "short"', "16 characters or more"),
        ('host = "0.0.0.0"\ntoken = "0123456789abcdef\\n"', "line ends"),
        ('host = "0.0.0.0"\ntoken = "0123456789abcde€"', "ASCII"),
        ('host = "nowhere"', "host"),
    ],
)
def test_a_worker_that_others_can_reach_needs_a_token(
    tmp_path: Path, http: str, complaint: str
) -> None:
    file = tmp_path / "worker.toml"
    file.write_text(f'[folder]\npath = "mail"\n[http]\n{http}\n')
    with pytest.raises(ConfigurationError, match=complaint):
        loading.load_worker(file)
    file.write_text(
        '[folder]\npath = "mail"\n[http]\nhost = "0.0.0.0"\ntoken = "0123456789abcdef"\n'
    )
    assert loading.load_worker(file).http.host == "0.0.0.0"


def test_a_bad_choice_in_a_workers_file_lists_the_choices(tmp_path: Path) -> None:
    file = tmp_path / "worker.toml"
    file.write_text('[folder]\npath = "mail"\n[log]\nlevel = "loud"\n[delivery]\nin_doubt = "x"\n')
    with pytest.raises(ConfigurationError) as raised:
        loading.load_worker(file)
    assert str(raised.value).splitlines() == [
        f'{file}: [delivery] in_doubt: it must be "hold" or "resend"',
        f'{file}: [log] level: it must be "debug", "info", "warning" or "error"',
    ]


QUEUE = "https://sqs.eu-west-1.amazonaws.com/1/ses-events"


def test_the_feedback_store_lies_beside_the_file(file: Path) -> None:
    file.write_text(f'{MINIMAL}[feedback]\nqueue = "{QUEUE}"\n')
    feedback = loading.load(file)[1].feedback
    assert feedback is not None
    assert (feedback.queue, feedback.store) == (QUEUE, file.parent / "feedback.db")
    file.write_text(MINIMAL)
    assert loading.load(file)[1].feedback is None


@pytest.mark.parametrize(
    ("named", "opened"),
    [("events", "{folder}/events"), ("/var/events", "/var/events"), ("s3://b/p/", "s3://b/p/")],
)
def test_event_files_lie_beside_the_file_or_in_s3(tmp_path: Path, named: str, opened: str) -> None:
    worker = tmp_path / "worker.toml"
    worker.write_text(
        f'[folder]\npath = "mail"\n[feedback]\nfiles = "{named}"\nstore = "/a/f.db"\n'
    )
    feedback = loading.load_worker(worker).feedback
    assert feedback is not None
    assert feedback.files == opened.format(folder=tmp_path)
    assert feedback.store == Path("/a/f.db")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("queu = 'x'", r'\[feedback\] queu: unknown key; did you mean "queue"\?$'),
        ("queue = 'events'", r'queue: it must look like "https://sqs\.REGION\.amazonaws\.com/'),
        ("files = ''", r"\[feedback\] files: it must not be empty$"),
        ("files = 's3://'", r"\[feedback\] files: it must be a folder, or s3://bucket/prefix$"),
        ("store = 'a\\u0000'", r"\[feedback\] store: a path has no NUL character$"),
        ("store = 5", r"\[feedback\] store: it must be a path, in double quotes$"),
        (f"queue = '{QUEUE}'\nfiles = 'x'", r"\[feedback\]: queue and files exclude each other"),
    ],
)
def test_what_is_wrong_with_feedback_is_named(file: Path, table: str, message: str) -> None:
    file.write_text(f"{MINIMAL}[feedback]\n{table.replace(chr(39), chr(34))}\n")
    with pytest.raises(ConfigurationError, match=rf"mailing\.toml: .*{message}"):
        loading.load(file)


def test_events_and_messages_need_queues_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "worker.toml"
    file.write_text(f'[folder]\npath = "mail"\n[queue]\nurl = "{QUEUE}"\n')
    monkeypatch.setenv("MAILSLUICE_FEEDBACK__QUEUE", QUEUE)
    with pytest.raises(ConfigurationError, match=r"^environment: .*__QUEUE: it is \[queue\] url"):
        loading.load_worker(file)
    monkeypatch.setenv("MAILSLUICE_FEEDBACK__QUEUE", f"{QUEUE}-2")
    assert loading.load_worker(file).feedback is not None
