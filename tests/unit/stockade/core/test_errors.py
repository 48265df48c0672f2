from stockade.core.errors import StockadeError, not_found


def test_an_error_says_what_it_was_given() -> None:
    error = StockadeError("queue.full", "Try later.", retryable=True, detail={"depth": 3})
    assert (error.code, error.message, error.retryable) == ("queue.full", "Try later.", True)
    assert error.detail == {"depth": 3}
    assert str(error) == "queue.full: Try later."


def test_an_error_is_final_and_without_detail_unless_told() -> None:
    error = StockadeError("queue.full", "Try later.")
    assert (error.retryable, error.detail) == (False, {})


def test_absent_is_told_without_a_word_on_other_tenants() -> None:
    error = not_found("function", "hello")
    assert (error.code, error.retryable) == ("function.not_found", False)
    assert error.message == "There is no function 'hello' in this tenant."
