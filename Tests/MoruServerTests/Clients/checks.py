"""What the programs beside this one share."""

import openai


def connect(base_url, kind=openai.OpenAI):
    """OpenAI's client, or the asynchronous one, of a server that needs no key; it asks once."""
    return kind(base_url=base_url, api_key="test", max_retries=0, timeout=60)


def refused(kind, call):
    """The error of a kind that a call ends with."""
    try:
        call()
    except kind as error:
        return error
    raise AssertionError("nothing was refused")


def run(*checks):
    """Prints the name of each check that held; a check that does not hold raises."""
    for check in checks:
        check()
        print(check.__name__, flush=True)
